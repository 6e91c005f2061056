"""HuBERT, wav2vec 2.0 and WavLM as frozen backbones."""
