"""Half precision, tried on the CPU: front ends keep their 32 bits, and what is learned does not."""

import torch

from matchka_train.backbones.speaker.fbank import KaldiFbank
from matchka_train.features.precision import keep_front_ends_exact


class Network(torch.nn.Module):
    """A filter bank of 16-bit samples, and one learned layer."""

    def __init__(self) -> None:
        super().__init__()
        self.front_end = KaldiFbank(16_000, 20, "povey")
        self.learned = torch.nn.Linear(20, 4)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        learned: torch.Tensor = self.learned(self.front_end(windows).mean(dim=1) + 1)
        return learned


def test_front_end_under_autocast_gives_what_it_gives_in_32_bits():
    windows = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    network = Network().eval()
    with torch.inference_mode():
        expected = network.front_end(windows)
        with torch.autocast("cpu", torch.float16):
            assert not torch.isfinite(network.front_end(windows)).all()  # what it is kept from
        keep_front_ends_exact(network, "cpu")
        with torch.autocast("cpu", torch.float16):
            torch.testing.assert_close(network.front_end(windows), expected, rtol=0, atol=1e-6)
            whole = network(windows)
    assert whole.dtype == torch.float16
    assert torch.isfinite(whole).all()


def test_front_end_that_takes_names_is_kept_and_statistics_that_were_learned_are_not():
    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("filters", torch.ones(3, 3))

        def forward(self, rows: torch.Tensor, *, scale: torch.Tensor) -> torch.Tensor:
            return scale * (rows @ self.filters)

    part, learned = Named(), torch.nn.BatchNorm1d(3, affine=False).eval()
    forward = learned.forward
    for one in (part, learned):
        keep_front_ends_exact(one, "cpu")
    with torch.autocast("cpu", torch.float16):
        found = part(torch.full((2, 3), 300.0), scale=torch.tensor(300.0, dtype=torch.float16))
    assert torch.equal(found, torch.full((2, 3), 270_000.0))  # half precision ends at 65,504
    assert learned.forward == forward
