"""One small member of many families of timm and torchvision, randomly initialised, traced to TorchScript.

    python benchmarks/vision_models.py list
    python benchmarks/vision_models.py NAME OUT.pt

NAME is timm/ARCHITECTURE or torchvision/ARCHITECTURE, as `list` tells them. Nothing is downloaded; timm and torchvision
are needed here alone, not by dlconv. The input is the smallest that the architecture takes. Weights are drawn so that
every layer shows in the outputs: scales near 1, where LayerScale and the last normalisation of a block start at 0, and
the statistics of batch normalisations are those of the drawn activations.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch  # noqa: TID253  (a script of its own)

SIDES = (64, 96, 128, 160, 192, 224, 256, 299)
TIMM = """
    convnext_atto convnextv2_atto efficientvit_b0 efficientvit_m0 mobilevit_xxs mobilevitv2_050
    edgenext_xx_small maxvit_pico_rw_256 maxxvit_rmlp_nano_rw_256 swin_tiny_patch4_window7_224
    swinv2_tiny_window8_256 swinv2_cr_tiny_ns_224 coatnet_nano_rw_224 vit_tiny_patch16_224 deit_tiny_patch16_224
    beit_base_patch16_224 eva02_tiny_patch14_224 cait_xxs24_224 xcit_nano_12_p16_224 pit_ti_224 crossvit_9_240
    levit_128s tnt_s_patch16_224 volo_d1_224 mvitv2_tiny poolformer_s12 pvt_v2_b0 twins_pcpvt_small
    twins_svt_small nest_tiny sequencer2d_s resmlp_12_224 mixer_s32_224 gmixer_12_224 gmlp_ti16_224 repvgg_a0
    regnetx_002 regnety_002 regnetz_b16 rexnet_100 tinynet_e ghostnet_050 ghostnetv2_100 ghostnetv3_050
    hardcorenas_a fbnetv3_b mnasnet_small lcnet_035 densenet121 dla34 dpn48b hrnet_w18_small res2net50_14w_8s
    resnest14d skresnet18 selecsls42 ese_vovnet19b_slim inception_v3 inception_v4 inception_resnet_v2 xception41
    legacy_xception nasnetalarge pnasnet5large cspresnet50 cs3darknet_focus_s bat_resnext26ts halonet26t
    botnet26t_256 lambda_resnet26t eca_resnext26ts gcresnet33ts hgnet_tiny hgnetv2_b0 fastvit_t8 repvit_m0_9
    inception_next_atto caformer_s18 convformer_s18 starnet_s050 tiny_vit_5m_224 hiera_tiny_224 mambaout_femto
    rdnet_tiny shvit_s1 swiftformer_xs nextvit_small focalnet_tiny_srf davit_tiny gcvit_xxtiny
    efficientformer_l1 efficientformerv2_s0 visformer_tiny convit_tiny convmixer_768_32 resnet10t resnetv2_18
    dm_nfnet_f0 nf_regnet_b0 tresnet_m vitamin_small_224 samvit_base_patch16_224 csatv2 efficientvim_m1
    iformer_t lowformer_b0 fasternet_t0 repghostnet_050 cpubone_nano mobilenetv4_conv_small_035
    mobilenetv4_hybrid_medium mobilenetv5_base gernet_s coat_tiny mobileone_s0 vit_relpos_small_patch16_224
    vit_base_r26_s32_224 flexivit_small efficientnet_lite0 tf_mobilenetv3_small_minimal_100
    naflexvit_base_patch16_gap
"""
TORCHVISION = """
    deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large fcn_resnet50 r3d_18 mc3_18 r2plus1d_18 s3d mvit_v1_b
    swin3d_t raft_small googlenet inception_v3 shufflenet_v2_x0_5 squeezenet1_1 efficientnet_b0 convnext_tiny
    maxvit_t swin_v2_t vit_b_32 alexnet vgg11_bn resnet18 densenet121 regnet_x_400mf mobilenet_v2
    mobilenet_v3_small mnasnet0_5 quantized/mobilenet_v2 quantized/resnet18
    quantized/shufflenet_v2_x0_5 quantized/googlenet
"""
CLIPS = {"r3d_18": (8, 64), "mc3_18": (8, 64), "r2plus1d_18": (8, 64), "s3d": (16, 224), "mvit_v1_b": (16, 224),
         "swin3d_t": (8, 64)}  # fmt: skip
OF_SIDE_64 = ("deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "fcn_resnet50")


def main() -> None:
    """Make one, or tell the names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("out", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.name == "list":
        print(
            "\n".join(
                [*(f"timm/{name}" for name in TIMM.split()), *(f"torchvision/{name}" for name in TORCHVISION.split())]
            )
        )
        return
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    library, _, architecture = arguments.name.partition("/")
    model, inputs = timm_model(architecture) if library == "timm" else torchvision_model(architecture)
    traced = torch.jit.trace(model, inputs, strict=False, check_trace=False)
    traced.save(str(arguments.out))
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(arguments.name, [tuple(x.shape) for x in inputs], f"{weights / 1e6:.1f} M weights")


def timm_model(name: str) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The architecture at the smallest side that it takes, and its input."""
    import timm

    trouble: Exception | None = None
    for side in SIDES:
        inputs = (torch.randn(2, 3, side, side),)
        for words in ({"img_size": side}, {}):
            try:
                model = timm.create_model(name, pretrained=False, **words)
                draw(model, inputs)
                with torch.no_grad():
                    answer = model.eval()(*inputs)
            except (TypeError, ValueError, AssertionError, RuntimeError, IndexError, KeyError) as error:
                trouble = error
                continue
            if torch.isfinite(answer).all():
                return model, (inputs[0][:1],)
    raise SystemExit(f"{name} takes none of {SIDES}: {trouble}")


def torchvision_model(name: str) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The architecture and its inputs."""
    from torchvision import models

    words: dict[str, Any] = {"weights": None}
    if name in OF_SIDE_64:
        words["weights_backbone"] = None
    if name.startswith("quantized/"):
        return _quantised(getattr(models.quantization, name.partition("/")[2]))
    if name.endswith(("googlenet", "inception_v3")):
        words["init_weights"] = False
    model = models.get_model(name, **words)
    if name in CLIPS:
        frames, side = CLIPS[name]
        inputs: tuple[torch.Tensor, ...] = (torch.randn(2, 3, frames, side, side),)
    elif name == "raft_small":
        inputs = (torch.rand(2, 3, 128, 128) * 2 - 1, torch.rand(2, 3, 128, 128) * 2 - 1)
    else:
        inputs = (torch.randn(2, 3, _side_of(name), _side_of(name)),)
    draw(model, inputs)
    return model.eval(), tuple(x[:1] for x in inputs)


def _side_of(name: str) -> int:
    return {"maxvit_t": 224, "vit_b_32": 224, "inception_v3": 96}.get(name, 64)


def _quantised(build: Callable[..., torch.nn.Module]) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """A model whose weights and activations are torch's own int8, calibrated on drawn pictures."""
    inputs = (torch.randn(2, 3, 64, 64),)
    model = build(weights=None, quantize=False)
    draw(model, inputs)
    model.eval()
    model.fuse_model(is_qat=False)  # type: ignore[operator]
    torch.backends.quantized.engine = "fbgemm"
    model.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")  # type: ignore[assignment]
    torch.ao.quantization.prepare(model, inplace=True)
    with torch.no_grad():
        model(*inputs)
    torch.ao.quantization.convert(model, inplace=True)
    return model, (inputs[0][:1],)


def draw(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Draws every weight so that no layer is trivial, and sets batch statistics to those of what then passes."""
    for name, parameter in model.named_parameters():
        last = name.rpartition(".")[2]
        with torch.no_grad():
            if parameter.dim() >= 2 and "weight" in last and parameter[0].numel() > 1:
                parameter.normal_(0.0, parameter[0].numel() ** -0.5)
            elif any(word in last for word in ("weight", "gamma", "scale", "gain", "temperature", "alpha", "ls")):
                parameter.normal_(1.0, 0.1)
            elif parameter.dim() <= 1:
                parameter.normal_(0.0, 0.1)
            else:
                parameter.normal_(0.0, 0.5)
    normalisations = list(_batch_normalisations(model))
    if not normalisations:
        return
    model.eval()
    for layer in normalisations:
        layer.reset_running_stats()
        layer.momentum = None  # (the mean over what passes, not a moving one)
        layer.train()
    with torch.no_grad():
        for _ in range(2):
            model(*(torch.randn_like(x) for x in inputs))
    model.eval()


def _batch_normalisations(model: torch.nn.Module) -> Iterator[Any]:
    for layer in model.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) and layer.track_running_stats:
            yield layer


if __name__ == "__main__":
    sys.exit(main())
