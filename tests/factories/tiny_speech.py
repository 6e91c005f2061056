"""Small speech transformers of random weights, saved in the way the published ones are."""

import json
from pathlib import Path
from typing import Any

import torch

KINDS = ("hubert", "wav2vec2", "wavlm")
HIDDEN, LAYERS = 32, 3  # layers as hidden states are counted: the encoder's input and two layers
# 80 samples a frame, so that tests stay fast: 5 * 4 * 4, seeing 10 + 5 * 3 + 20 * 3 = 85
KERNELS, STRIDES, RECEPTIVE = [10, 4, 4], [5, 4, 4], 85


def save_tiny(folder: Path, kind: str, *, layer_norm: bool = False, normalised: bool = True, **changes: Any) -> Path:
    """A folder as its makers publish it: `layer_norm` is how the large networks differ from the base ones."""
    import transformers

    values = {
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS - 1,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "conv_dim": [16, 16, 16],
        "conv_kernel": KERNELS,
        "conv_stride": STRIDES,
        "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
        "feat_extract_norm": "layer" if layer_norm else "group",
        "do_stable_layer_norm": layer_norm,
        "conv_bias": layer_norm,
        "num_codevectors_per_group": 4,
        "codevector_dim": 8,
        "proj_codevector_dim": 8,
        **changes,
    }
    config_class, model_class = {
        "hubert": (transformers.HubertConfig, transformers.HubertModel),
        "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
        "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
    }[kind]
    torch.manual_seed(7)
    model = model_class(config_class(**values))
    with torch.no_grad():
        for parameter in model.parameters():  # offsets that start at 0 and gains that start at 1 would hide mistakes
            parameter.add_(0.1 * torch.randn_like(parameter))
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    preprocessor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": 16_000,
        "do_normalize": normalised,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder
