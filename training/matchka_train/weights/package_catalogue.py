"""The pinned packages that default models, their detectors and samples for demonstrations come from."""

from typing import Final

from matchka_train.weights.packages import Member, Package

RESEMBLYZER: Final = Package(
    name="Resemblyzer",
    version="0.1.4",
    file_name="Resemblyzer-0.1.4-py3-none-any.whl",
    sha256="8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
    size_bytes=15_747_704,
    is_source=False,
    licence="Apache-2.0",
)
GE2E_WEIGHTS: Final = Member(
    package=RESEMBLYZER,
    path="resemblyzer/pretrained.pt",
    sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
)
SILERO_VAD: Final = Package(
    name="silero-vad",
    version="6.2.3",
    file_name="silero_vad-6.2.3-py3-none-any.whl",
    sha256="7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    size_bytes=11_317_527,
    is_source=False,
    licence="MIT",
)
# Of its graphs for 16 kHz the smallest, and the one that takes many frames in one run.
SPEECH_ACTIVITY_GRAPH: Final = Member(
    package=SILERO_VAD,
    path="silero_vad/data/silero_vad_16k_sequence.onnx",
    sha256="9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
)
POCKETSPHINX: Final = Package(
    name="pocketsphinx",
    version="5.1.1",
    file_name="pocketsphinx-5.1.1.tar.gz",
    sha256="675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355",
    size_bytes=34_158_862,
    is_source=True,
    licence="BSD-2-Clause",
)
# CMUdict, in ARPABET without stress: how 134,000 words of English are said.
PRONUNCIATIONS: Final = Member(
    package=POCKETSPHINX,
    path="pocketsphinx-5.1.1/model/en-us/cmudict-en-us.dict",
    sha256="20b5c293e1f311fb375fe067e500ec5636f4fc7af5594967263696def9b23bfe",
)
FACE_RECOGNITION_MODELS: Final = Package(
    name="face_recognition_models",
    version="0.3.0",
    file_name="face_recognition_models-0.3.0.tar.gz",
    sha256="b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
    size_bytes=100_149_358,
    is_source=True,
    licence="CC0-1.0",
)
DLIB_WEIGHTS: Final = Member(
    package=FACE_RECOGNITION_MODELS,
    path="face_recognition_models-0.3.0/face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
)
FACENET_PYTORCH: Final = Package(
    name="facenet-pytorch",
    version="2.6.0",
    file_name="facenet_pytorch-2.6.0-py3-none-any.whl",
    sha256="ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca",
    size_bytes=1_881_930,
    is_source=False,
    licence="MIT",
)
MTCNN_WEIGHTS: Final = {
    "pnet": Member(
        package=FACENET_PYTORCH,
        path="facenet_pytorch/data/pnet.pt",
        sha256="a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    ),
    "rnet": Member(
        package=FACENET_PYTORCH,
        path="facenet_pytorch/data/rnet.pt",
        sha256="bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    ),
    "onet": Member(
        package=FACENET_PYTORCH,
        path="facenet_pytorch/data/onet.pt",
        sha256="165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
    ),
}
FACE_RECOGNITION: Final = Package(
    name="face_recognition",
    version="1.3.0",
    file_name="face_recognition-1.3.0.tar.gz",
    sha256="5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    size_bytes=3_182_249,
    is_source=True,
    licence="MIT",
)
