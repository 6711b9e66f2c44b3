"""Small, randomly initialised models of many architectures, from `transformers` configurations: breadth for converters.

    python benchmarks/zoo_models.py DIRECTORY [NAME ...]

writes NAME.pt (traced TorchScript) and NAME.pt2 (torch.export) for each, and NAME.json: the inputs, as the command
line writes them. Nothing is downloaded. Weights are large enough that every layer shows in the outputs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch  # noqa: TID253  (a script of its own)

Inputs = dict[str, torch.Tensor]
BATCH, LENGTH, VOCABULARY = 2, 16, 99


@dataclass(frozen=True)
class Entry:
    """One architecture. free: input -> {axis: name} of the sizes that may vary; outputs: keys of the model's answer."""

    name: str
    kind: str
    build: Callable[[], torch.nn.Module]
    inputs: Callable[[], Inputs]
    free: dict[str, dict[int, str]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Built:
    """A model ready to be traced: it takes the inputs by name and returns a dict of tensors."""

    name: str
    module: torch.nn.Module
    inputs: Inputs
    free: dict[str, dict[int, str]]


class Named(torch.nn.Module):
    """A model that returns only the tensors of its answer that were asked for, as a dict."""

    def __init__(self, model: torch.nn.Module, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.keys = outputs

    def answer(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.model(**inputs)
        return {key: found[key] for key in self.keys}


def named_module(model: torch.nn.Module, inputs: Inputs, outputs: tuple[str, ...]) -> torch.nn.Module:
    """`model` under a forward whose arguments are the inputs' names (a tracer reads them from the code)."""
    arguments = ", ".join(inputs)
    passed = ", ".join(f"{name}={name}" for name in inputs)
    scope: dict[str, Any] = {}
    exec(f"def forward(self, {arguments}):\n    return self.answer({passed})\n", scope)
    return type("Named", (Named,), {"forward": scope["forward"]})(model, outputs).eval()


def enlarge(model: torch.nn.Module) -> None:
    """Draws every weight so that a layer keeps the scale of what passes through it, and no bias or scale is trivial."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if parameter.dim() >= 2:
                fan_in = parameter[0].numel() if "embed" not in name else 4
                parameter.normal_(0.0, fan_in**-0.5)
            elif "weight" in name or "gamma" in name or "scale" in name:
                parameter.normal_(1.0, 0.1)
            else:
                parameter.normal_(0.0, 0.1)
    for name, buffer in model.named_buffers():
        with torch.no_grad():
            if name.endswith("running_mean"):
                buffer.normal_(0.0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)


def ids(length: int = LENGTH, high: int = VOCABULARY) -> torch.Tensor:
    """Token ids of [BATCH, length], within [5, high): none is a special token."""
    return torch.randint(5, high, (BATCH, length))


def mask(length: int = LENGTH) -> torch.Tensor:
    """A mask of [BATCH, length]: ones, and zeros at the end of the second row."""
    ones = torch.ones(BATCH, length, dtype=torch.int64)
    ones[1, length - 3 :] = 0
    return ones


def image(side: int = 32, channels: int = 3) -> torch.Tensor:
    """Normal pixels of [BATCH, channels, side, side]."""
    return torch.randn(BATCH, channels, side, side)


def audio(length: int = 1600) -> torch.Tensor:
    """Normal samples of [BATCH, length]."""
    return torch.randn(BATCH, length)


TOKENS = {0: "batch", 1: "sequence"}
TEXT_FREE = {"input_ids": TOKENS, "attention_mask": TOKENS}
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
DECODER = SMALL | {"num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 1, "eos_token_id": 2}
GPT = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "n_inner": 64}
SEQ2SEQ: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "decoder_start_token_id": 1,
}
VIT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
SPEECH: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 4, 2),
    "conv_kernel": (10, 8, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def _hf(name: str, head: str, **config: Any) -> Callable[[], torch.nn.Module]:
    """Builds transformers' NameHead from NameConfig(**config)."""

    def build() -> torch.nn.Module:
        import transformers

        settings = getattr(transformers, f"{name}Config")(**config)
        settings._attn_implementation = "eager"
        settings._experts_implementation = "eager"  # the grouped one works in bfloat16 alone on a CPU
        model: torch.nn.Module = getattr(transformers, f"{name}{head}")(settings)
        return model

    return build


def _text_entries() -> list[Entry]:
    def entry(
        name: str, head: str = "Model", outputs: tuple[str, ...] = ("last_hidden_state",), **config: Any
    ) -> Entry:
        return Entry(
            name.lower(),
            "text",
            _hf(name, head, **config),
            lambda: {"input_ids": ids(), "attention_mask": mask()},
            TEXT_FREE,
            outputs,
        )

    logits = ("logits",)
    small_dim = {
        "vocab_size": VOCABULARY,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 64,
        "max_position_embeddings": 64,
    }
    return [
        entry("Bert", "ForSequenceClassification", logits, **SMALL),
        entry("Roberta", "ForSequenceClassification", logits, **SMALL),
        entry("DistilBert", "ForTokenClassification", logits, **small_dim),
        entry("Albert", "ForMaskedLM", logits, embedding_size=16, **SMALL),
        entry("Electra", "ForPreTraining", logits, embedding_size=16, **SMALL),
        entry("Deberta", "Model", relative_attention=True, pos_att_type=["c2p", "p2c"], **SMALL),
        entry("DebertaV2", "Model", relative_attention=True, pos_att_type=["c2p", "p2c"], **SMALL),
        entry("MPNet", "ForQuestionAnswering", ("start_logits", "end_logits"), **SMALL),
        entry("XLMRoberta", "ForMaskedLM", logits, **SMALL),
        entry("Camembert", "Model", ("last_hidden_state", "pooler_output"), **SMALL),
        entry("RoFormer", "ForMaskedLM", logits, embedding_size=16, **SMALL),
        entry("SqueezeBert", "ForSequenceClassification", logits, embedding_size=32, **SMALL),
        entry("MobileBert", "Model", embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16, **SMALL),
        entry("ConvBert", "Model", embedding_size=16, head_ratio=2, num_groups=1, conv_kernel_size=3, **SMALL),
        entry("ModernBert", "ForMaskedLM", logits, local_attention=8, **SMALL),
        entry("MegatronBert", "Model", **SMALL),
        entry("Ernie", "Model", **SMALL),
        entry("BertGeneration", "Encoder", **SMALL),
        entry("RemBert", "Model", input_embedding_size=16, output_embedding_size=16, **SMALL),
        entry("XLM", "Model", vocab_size=VOCABULARY, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=64),
        entry(
            "Flaubert", "Model", vocab_size=VOCABULARY, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=64
        ),
        entry("XLNet", "Model", vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=64),
        entry(
            "Funnel",
            "Model",
            vocab_size=VOCABULARY,
            block_sizes=[1, 1],
            num_decoder_layers=1,
            d_model=32,
            n_head=4,
            d_head=8,
            d_inner=64,
        ),
        entry("Longformer", "Model", attention_window=[8, 8], **SMALL),
        entry("BigBird", "Model", attention_type="original_full", **SMALL),
        entry("EuroBert", "Model", **DECODER),
        entry("LayoutLM", "Model", **SMALL),
    ]


def _decoder_entries() -> list[Entry]:
    def entry(name: str, head: str = "ForCausalLM", outputs: tuple[str, ...] = ("logits",), **config: Any) -> Entry:
        return Entry(
            name.lower(),
            "text-decoder",
            _hf(name, head, use_cache=False, **config),
            lambda: {"input_ids": ids(), "attention_mask": mask()},
            TEXT_FREE,
            outputs,
        )

    neo = SMALL | {"rotary_pct": 0.5}
    return [
        entry("GPT2", "LMHeadModel", **GPT),
        entry(
            "GPTNeo",
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            window_size=8,
            max_position_embeddings=64,
        ),
        entry("GPTNeoX", **neo),
        entry("GPTJ", rotary_dim=4, **GPT),
        entry("GPTBigCode", **GPT),
        entry("CodeGen", rotary_dim=4, **(GPT | {"n_ctx": 64})),
        entry(
            "OPT",
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            ffn_dim=64,
            max_position_embeddings=64,
            word_embed_proj_dim=32,
        ),
        entry("Bloom", vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4),
        entry("Llama", **DECODER),
        entry("Mistral", sliding_window=8, **DECODER),
        entry("Qwen2", **DECODER),
        entry("Qwen3", **DECODER),
        entry("Gemma", **DECODER),
        entry("Gemma2", sliding_window=8, **DECODER),
        entry("Phi", **SMALL),
        entry("Phi3", **DECODER),
        entry("Falcon", vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=False),
        entry("Mpt", vocab_size=VOCABULARY, d_model=32, n_layers=2, n_heads=4, max_seq_len=64),
        entry("Olmo", **DECODER),
        entry("Olmo2", **DECODER),
        entry("Cohere", **DECODER),
        entry("Granite", **DECODER),
        entry("Starcoder2", **DECODER),
        entry("Persimmon", **SMALL),
        entry("BioGpt", **SMALL),
        entry(
            "XGLM",
            vocab_size=VOCABULARY,
            d_model=32,
            ffn_dim=64,
            num_layers=2,
            attention_heads=4,
            max_position_embeddings=64,
        ),
        entry("Mixtral", num_local_experts=4, num_experts_per_tok=2, **DECODER),
        entry("SmolLM3", **DECODER),
        entry("Glm", **DECODER),
    ]


def _seq2seq_entries() -> list[Entry]:
    inputs = lambda: {"input_ids": ids(), "attention_mask": mask(), "decoder_input_ids": ids(8)}  # noqa: E731
    free = {**TEXT_FREE, "decoder_input_ids": {0: "batch", 1: "target"}}

    def entry(name: str, head: str = "ForConditionalGeneration", **config: Any) -> Entry:
        return Entry(
            name.lower(), "encoder-decoder", _hf(name, head, use_cache=False, **config), inputs, free, ("logits",)
        )

    t5 = {
        "vocab_size": VOCABULARY,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "decoder_start_token_id": 0,
    }
    return [
        entry("T5", **t5),
        entry("MT5", **t5),
        entry("UMT5", **t5),
        entry("Bart", **SEQ2SEQ),
        entry("MBart", **SEQ2SEQ),
        entry("Pegasus", **SEQ2SEQ),
        entry("Marian", "MTModel", **SEQ2SEQ),
        entry("M2M100", **SEQ2SEQ),
        entry("Blenderbot", **SEQ2SEQ),
        entry("BlenderbotSmall", **SEQ2SEQ),
        entry("PLBart", **SEQ2SEQ),
        entry(
            "ProphetNet",
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_encoder_layers=2,
            num_decoder_layers=2,
            num_encoder_attention_heads=4,
            num_decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_position_embeddings=64,
        ),
    ]


def _vision_entries() -> list[Entry]:
    def entry(
        name: str,
        head: str = "ForImageClassification",
        side: int = 32,
        outputs: tuple[str, ...] = ("logits",),
        **config: Any,
    ) -> Entry:
        return Entry(
            name.lower(),
            "vision",
            _hf(name, head, **config),
            lambda: {"pixel_values": image(side)},
            {"pixel_values": {0: "batch"}},
            outputs,
        )

    stages = {"hidden_sizes": [16, 24, 32, 40], "depths": [1, 1, 1, 1]}
    swin = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4}
    return [
        entry("ViT", **VIT),
        entry("DeiT", **VIT),
        entry("Beit", use_relative_position_bias=True, **VIT),
        entry("Data2VecVision", use_relative_position_bias=True, **VIT),
        entry("Dinov2", **VIT),
        entry("Dinov2WithRegisters", **VIT),
        entry("ViTMSN", **VIT),
        entry("IJepa", **VIT),
        entry(
            "Hiera",
            image_size=[32, 32],
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 2, 2, 4],
            patch_size=[3, 3],
            patch_stride=[2, 2],
            patch_padding=[1, 1],
            masked_unit_size=[8, 8],
            query_stride=[2, 2],
        ),
        entry("Swin", **swin),
        entry("Swinv2", **swin),
        entry("ConvNext", num_channels=3, **stages),
        entry("ConvNextV2", num_channels=3, **stages),
        entry("ResNet", embedding_size=16, layer_type="bottleneck", **stages),
        entry("RegNet", embedding_size=16, groups_width=8, layer_type="y", **stages),
        entry(
            "Bit",
            embedding_size=16,
            hidden_sizes=[32, 32, 64, 64],
            depths=[1, 1, 1, 1],
            num_groups=8,
            layer_type="bottleneck",
        ),
        entry("MobileNetV1", image_size=32, depth_multiplier=0.25, min_depth=8),
        entry("MobileNetV2", image_size=32, depth_multiplier=0.25, min_depth=8),
        entry("EfficientNet", image_size=32, width_coefficient=0.25, depth_coefficient=0.25, hidden_dim=320),
        entry(
            "MobileViT",
            hidden_sizes=[16, 24, 32],
            neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32],
            num_attention_heads=4,
            image_size=32,
            patch_size=2,
        ),
        entry("MobileViTV2", image_size=64, side=64, patch_size=2, width_multiplier=0.25),
        entry("PoolFormer", hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1]),
        entry(
            "Levit",
            image_size=64,
            side=64,
            hidden_sizes=[32, 48, 64],
            num_attention_heads=[2, 3, 4],
            depths=[1, 1, 1],
            key_dim=[8, 8, 8],
            mlp_ratio=[2, 2, 2],
        ),
        entry(
            "Pvt",
            image_size=64,
            side=64,
            hidden_sizes=[16, 16, 32, 32],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 1, 2, 2],
            sequence_reduction_ratios=[4, 2, 1, 1],
        ),
        entry(
            "PvtV2",
            image_size=64,
            side=64,
            hidden_sizes=[16, 16, 32, 32],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 1, 2, 2],
        ),
        entry(
            "FocalNet",
            image_size=32,
            patch_size=2,
            embed_dim=16,
            depths=[1, 1],
            hidden_sizes=[16, 32],
            focal_levels=[2, 2],
            focal_windows=[3, 3],
        ),
        entry("SwiftFormer", side=64, depths=[1, 1, 1, 1], embed_dims=[16, 16, 32, 32]),
        entry("TextNet", side=64),
        entry(
            "Segformer",
            "ForSemanticSegmentation",
            side=64,
            num_encoder_blocks=4,
            depths=[1, 1, 1, 1],
            hidden_sizes=[16, 16, 32, 32],
            num_attention_heads=[1, 1, 2, 2],
            decoder_hidden_size=32,
        ),
        entry(
            "DPT",
            "ForDepthEstimation",
            outputs=("predicted_depth",),
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[16, 16, 16, 16],
            fusion_hidden_size=16,
            **(VIT | {"num_hidden_layers": 4}),
        ),
        entry(
            "GLPN",
            "ForDepthEstimation",
            outputs=("predicted_depth",),
            side=64,
            depths=[1, 1, 1, 1],
            hidden_sizes=[16, 16, 32, 32],
            num_attention_heads=[1, 1, 2, 2],
            decoder_hidden_size=16,
        ),
        entry(
            "Yolos",
            "ForObjectDetection",
            outputs=("logits", "pred_boxes"),
            num_detection_tokens=10,
            **(VIT | {"image_size": [32, 32]}),
        ),
        entry(
            "Swin2SR",
            "ForImageSuperResolution",
            outputs=("reconstruction",),
            image_size=16,
            side=16,
            patch_size=1,
            embed_dim=16,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=4,
            upscale=2,
        ),
        entry(
            "ViTMAE",
            "Model",
            outputs=("last_hidden_state",),
            mask_ratio=0.0,
            decoder_hidden_size=32,
            decoder_num_attention_heads=4,
            decoder_num_hidden_layers=1,
            decoder_intermediate_size=64,
            **VIT,
        ),
        entry("Timesformer", "ForVideoClassification", num_frames=4, **VIT),
    ]


def _audio_entries() -> list[Entry]:
    def entry(name: str, head: str = "ForCTC", outputs: tuple[str, ...] = ("logits",), **config: Any) -> Entry:
        return Entry(
            name.lower(),
            "audio",
            _hf(name, head, **(SPEECH | config)),
            lambda: {"input_values": audio()},
            {"input_values": {0: "batch", 1: "samples"}},
            outputs,
        )

    features = lambda: {"input_features": torch.randn(BATCH, 16, 64)}  # noqa: E731
    whisper = SEQ2SEQ | {"num_mel_bins": 16, "max_source_positions": 32, "max_target_positions": 32}
    whisper.pop("max_position_embeddings")
    return [
        entry("Wav2Vec2"),
        entry("Hubert", "ForSequenceClassification"),
        entry("WavLM", num_buckets=32, max_bucket_distance=64),
        entry("UniSpeech"),
        entry("UniSpeechSat"),
        entry("SEW", squeeze_factor=2),
        entry("SEWD", squeeze_factor=2, max_position_embeddings=64, position_buckets=32, pos_att_type=("p2c", "c2p")),
        entry("Data2VecAudio", conv_pos_kernel_size=3, num_conv_pos_embeddings=2),
        entry(
            "Wav2Vec2Conformer",
            position_embeddings_type="relative",
            conv_depthwise_kernel_size=3,
            max_source_positions=512,
        ),
        Entry(
            "ast",
            "audio",
            _hf(
                "AST",
                "ForAudioClassification",
                **{k: v for k, v in VIT.items() if k != "image_size"},
                max_length=32,
                num_mel_bins=16,
                frequency_stride=8,
                time_stride=8,
            ),
            lambda: {"input_values": torch.randn(BATCH, 32, 16)},
            {"input_values": {0: "batch"}},
            ("logits",),
        ),
        Entry(
            "whisper",
            "audio",
            _hf("Whisper", "ForConditionalGeneration", use_cache=False, **whisper),
            lambda: {**features(), "decoder_input_ids": ids(8)},
            {"input_features": {0: "batch"}, "decoder_input_ids": {0: "batch", 1: "target"}},
            ("logits",),
        ),
        Entry(
            "whisperencoder",
            "audio",
            _hf("Whisper", "ForAudioClassification", **whisper),
            features,
            {"input_features": {0: "batch"}},
            ("logits",),
        ),
        Entry(
            "moonshine",
            "audio",
            _hf(
                "Moonshine",
                "ForConditionalGeneration",
                use_cache=False,
                vocab_size=VOCABULARY,
                hidden_size=32,
                intermediate_size=64,
                encoder_num_hidden_layers=2,
                decoder_num_hidden_layers=2,
                encoder_num_attention_heads=4,
                decoder_num_attention_heads=4,
                max_position_embeddings=64,
            ),
            lambda: {"input_values": audio(3200), "decoder_input_ids": ids(8)},
            {"input_values": {0: "batch"}, "decoder_input_ids": {0: "batch", 1: "target"}},
            ("logits",),
        ),
        Entry(
            "speech2text",
            "audio",
            _hf(
                "Speech2Text",
                "ForConditionalGeneration",
                use_cache=False,
                input_feat_per_channel=16,
                conv_channels=16,
                num_conv_layers=2,
                conv_kernel_sizes=(5, 5),
                max_source_positions=64,
                max_target_positions=64,
                **{k: v for k, v in SEQ2SEQ.items() if k != "max_position_embeddings"},
            ),
            lambda: {"input_features": torch.randn(BATCH, 64, 16), "decoder_input_ids": ids(8)},
            {"input_features": {0: "batch"}, "decoder_input_ids": {0: "batch", 1: "target"}},
            ("logits",),
        ),
    ]


def _other_entries() -> list[Entry]:
    text = {**SMALL}
    clip_text = {**SMALL, "bos_token_id": 1, "eos_token_id": 2}
    clip_inputs = lambda: {"input_ids": ids(), "pixel_values": image(), "attention_mask": mask()}  # noqa: E731
    clip_free = {
        "input_ids": {0: "texts", 1: "sequence"},
        "attention_mask": {0: "texts", 1: "sequence"},
        "pixel_values": {0: "images"},
    }
    clip = {"text_config": clip_text, "vision_config": VIT, "projection_dim": 16}
    both = ("logits_per_image", "text_embeds", "image_embeds")
    series = lambda: {"past_values": torch.randn(BATCH, 32, 3)}  # noqa: E731
    return [
        Entry("clip", "multimodal", _hf("CLIP", "Model", **clip), clip_inputs, clip_free, both),
        Entry(
            "siglip",
            "multimodal",
            _hf("Siglip", "Model", text_config=text, vision_config=VIT),
            clip_inputs,
            clip_free,
            both,
        ),
        Entry("chineseclip", "multimodal", _hf("ChineseCLIP", "Model", **clip), clip_inputs, clip_free, both),
        Entry(
            "clipvision",
            "multimodal",
            _vision_tower,
            lambda: {"pixel_values": image()},
            {"pixel_values": {0: "batch"}},
            ("image_embeds",),
        ),
        Entry(
            "blip",
            "multimodal",
            _hf(
                "Blip",
                "ForImageTextRetrieval",
                text_config={**text, "encoder_hidden_size": 32},
                vision_config=VIT,
                image_text_hidden_size=16,
            ),
            clip_inputs,
            {"input_ids": TOKENS, "attention_mask": TOKENS, "pixel_values": {0: "batch"}},
            ("itm_score",),
        ),
        Entry(
            "visualbert",
            "multimodal",
            _hf("VisualBert", "Model", visual_embedding_dim=20, **SMALL),
            lambda: {
                "input_ids": ids(),
                "attention_mask": mask(),
                "visual_embeds": torch.randn(BATCH, 6, 20),
                "visual_attention_mask": mask(6),
            },
            {
                "input_ids": TOKENS,
                "attention_mask": TOKENS,
                "visual_embeds": {0: "batch"},
                "visual_attention_mask": {0: "batch"},
            },
            ("last_hidden_state", "pooler_output"),
        ),
        Entry(
            "layoutlmv3",
            "multimodal",
            _hf(
                "LayoutLMv3",
                "ForTokenClassification",
                coordinate_size=6,
                shape_size=4,
                input_size=32,
                patch_size=8,
                has_relative_attention_bias=True,
                has_spatial_attention_bias=True,
                **SMALL,
            ),
            lambda: {
                "input_ids": ids(),
                "bbox": torch.randint(0, 100, (BATCH, LENGTH, 2)).repeat(1, 1, 2),
                "attention_mask": mask(),
                "pixel_values": image(),
            },
            {},
            ("logits",),
        ),
        Entry(
            "clipseg",
            "segmentation",
            _hf(
                "CLIPSeg",
                "ForImageSegmentation",
                extract_layers=[0, 1],
                reduce_dim=16,
                decoder_num_attention_heads=2,
                decoder_intermediate_size=32,
                **clip,
            ),
            lambda: {"input_ids": ids(), "pixel_values": image(), "attention_mask": mask()},
            {},
            ("logits",),
        ),
        Entry(
            "owlvit",
            "detection",
            _hf("OwlViT", "ForObjectDetection", **(clip | {"projection_dim": 32})),
            lambda: {"input_ids": ids(), "pixel_values": image(), "attention_mask": mask()},
            {},
            ("logits", "pred_boxes"),
        ),
        Entry(
            "detr",
            "detection",
            _detr,
            lambda: {"pixel_values": image(64), "pixel_mask": torch.ones(BATCH, 64, 64, dtype=torch.int64)},
            {"pixel_values": {0: "batch"}, "pixel_mask": {0: "batch"}},
            ("logits", "pred_boxes"),
        ),
        Entry(
            "conditionaldetr",
            "detection",
            _conditional_detr,
            lambda: {"pixel_values": image(64), "pixel_mask": torch.ones(BATCH, 64, 64, dtype=torch.int64)},
            {"pixel_values": {0: "batch"}, "pixel_mask": {0: "batch"}},
            ("logits", "pred_boxes"),
        ),
        Entry(
            "upernet",
            "segmentation",
            _upernet,
            lambda: {"pixel_values": image(64)},
            {"pixel_values": {0: "batch"}},
            ("logits",),
        ),
        Entry(
            "depthanything",
            "depth",
            _depth_anything,
            lambda: {"pixel_values": image(32)},
            {"pixel_values": {0: "batch"}},
            ("predicted_depth",),
        ),
        Entry(
            "patchtst",
            "time-series",
            _hf(
                "PatchTST",
                "ForPrediction",
                num_input_channels=3,
                context_length=32,
                prediction_length=8,
                patch_length=8,
                patch_stride=8,
                d_model=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                ffn_dim=32,
                loss="mse",
            ),
            series,
            {"past_values": {0: "batch"}},
            ("prediction_outputs",),
        ),
        Entry(
            "patchtsmixer",
            "time-series",
            _hf(
                "PatchTSMixer",
                "ForPrediction",
                num_input_channels=3,
                context_length=32,
                prediction_length=8,
                patch_length=8,
                patch_stride=8,
                d_model=16,
                num_layers=2,
                loss="mse",
            ),
            series,
            {"past_values": {0: "batch"}},
            ("prediction_outputs",),
        ),
        Entry(
            "decisiontransformer",
            "control",
            _hf(
                "DecisionTransformer",
                "Model",
                state_dim=6,
                act_dim=3,
                hidden_size=32,
                max_ep_len=64,
                n_layer=2,
                n_head=4,
                n_inner=64,
                n_positions=64,
            ),
            _decision_inputs,
            {},
            ("action_preds",),
        ),
        Entry("perceiver", "other", _perceiver, lambda: {"inputs": ids()}, {"inputs": {0: "batch"}}, ("logits",)),
        Entry(
            "esm",
            "biology",
            _hf("Esm", "ForMaskedLM", mask_token_id=3, position_embedding_type="rotary", **SMALL),
            lambda: {"input_ids": ids(), "attention_mask": mask()},
            TEXT_FREE,
            ("logits",),
        ),
        Entry(
            "mamba",
            "text-decoder",
            _hf(
                "Mamba",
                "ForCausalLM",
                vocab_size=VOCABULARY,
                hidden_size=32,
                num_hidden_layers=2,
                state_size=4,
                use_cache=False,
            ),
            lambda: {"input_ids": ids()},
            {},
            ("logits",),
        ),
        Entry(
            "encodec",
            "audio",
            _encodec,
            lambda: {"input_values": torch.randn(BATCH, 1, 640)},
            {"input_values": {0: "batch"}},
            ("audio_values",),
        ),
        Entry(
            "lstm",
            "recurrent",
            lambda: _Recurrent("LSTM"),
            lambda: {"x": torch.randn(BATCH, LENGTH, 8)},
            {"x": TOKENS},
            ("y", "h"),
        ),
        Entry(
            "gru",
            "recurrent",
            lambda: _Recurrent("GRU"),
            lambda: {"x": torch.randn(BATCH, LENGTH, 8)},
            {"x": TOKENS},
            ("y", "h"),
        ),
        Entry(
            "torchtransformer",
            "text",
            _TorchTransformer,
            lambda: {"x": torch.randn(BATCH, LENGTH, 16)},
            {"x": TOKENS},
            ("y",),
        ),
        Entry("unet", "segmentation", _UNet, lambda: {"x": image(32)}, {"x": {0: "batch"}}, ("mask",)),
        Entry("fold", "vision", _Fold, lambda: {"x": image(16)}, {"x": {0: "batch"}}, ("y",)),
    ]


def _vision_tower() -> torch.nn.Module:
    import transformers

    return transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(projection_dim=16, attn_implementation="eager", **VIT)
    )


def _resnet_backbone() -> Any:
    import transformers

    return transformers.ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 24, 32, 40],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )


_DETR: dict[str, Any] = {
    "num_queries": 8,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}


def _detr() -> torch.nn.Module:
    import transformers

    config = transformers.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=_resnet_backbone(),
        **_DETR,
    )
    return transformers.DetrForObjectDetection(config)


def _conditional_detr() -> torch.nn.Module:
    import transformers

    config = transformers.ConditionalDetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=_resnet_backbone(),
        **_DETR,
    )
    return transformers.ConditionalDetrForObjectDetection(config)


def _upernet() -> torch.nn.Module:
    import transformers

    backbone = transformers.ConvNextConfig(
        hidden_sizes=[16, 24, 32, 40], depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    return transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(
            backbone_config=backbone, hidden_size=16, use_auxiliary_head=False, auxiliary_in_channels=16
        )
    )


def _depth_anything() -> torch.nn.Module:
    import transformers

    backbone = transformers.Dinov2Config(
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
        **(VIT | {"num_hidden_layers": 4}),
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        patch_size=8,
        neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16,
        head_in_index=-1,
    )
    return transformers.DepthAnythingForDepthEstimation(config)


def _perceiver() -> torch.nn.Module:
    import transformers

    config = transformers.PerceiverConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        d_latents=32,
        num_latents=8,
        num_blocks=1,
        num_self_attends_per_block=2,
        num_self_attention_heads=4,
        num_cross_attention_heads=4,
        max_position_embeddings=LENGTH,
        qk_channels=32,
        v_channels=32,
    )
    return transformers.PerceiverForMaskedLM(config)


def _encodec() -> torch.nn.Module:
    import transformers

    return transformers.EncodecModel(
        transformers.EncodecConfig(
            num_filters=4,
            hidden_size=16,
            codebook_size=32,
            codebook_dim=16,
            upsampling_ratios=[4, 4],
            num_lstm_layers=1,
            target_bandwidths=[24.0],
        )
    )


def _decision_inputs() -> Inputs:
    return {
        "states": torch.randn(BATCH, 5, 6),
        "actions": torch.randn(BATCH, 5, 3),
        "rewards": torch.randn(BATCH, 5, 1),
        "returns_to_go": torch.randn(BATCH, 5, 1),
        "timesteps": torch.arange(5).repeat(BATCH, 1),
        "attention_mask": torch.ones(BATCH, 5, dtype=torch.int64),
    }


class _Recurrent(torch.nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.cells = getattr(torch.nn, kind)(8, 16, num_layers=2, batch_first=True, bidirectional=True)
        self.head = torch.nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y, state = self.cells(x)
        return {"y": self.head(y), "h": state[0] if isinstance(state, tuple) else state}


class _TorchTransformer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": self.encoder(x)}


class _UNet(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.SiLU())
        self.middle = torch.nn.Sequential(
            torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.GroupNorm(2, 8), torch.nn.GELU()
        )
        self.up = torch.nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.last = torch.nn.Conv2d(16, 1, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        skip = self.down(x)
        deep = torch.nn.functional.interpolate(
            self.middle(torch.nn.functional.max_pool2d(skip, 2)), scale_factor=1.0, mode="bilinear"
        )
        return {"mask": self.last(torch.cat([skip, self.up(deep)], 1)).sigmoid()}


class _Fold(torch.nn.Module):
    """Sliding windows taken apart, mixed, and folded again (im2col, col2im)."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Linear(48, 48)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        windows = torch.nn.functional.unfold(x, 4, stride=4)
        mixed = self.mix(windows.transpose(1, 2)).transpose(1, 2)
        return {"y": torch.nn.functional.fold(mixed, x.shape[-2:], 4, stride=4)}


def entries() -> list[Entry]:
    """Every architecture of the zoo."""
    return [
        *_text_entries(),
        *_decoder_entries(),
        *_seq2seq_entries(),
        *_vision_entries(),
        *_audio_entries(),
        *_other_entries(),
    ]


def built(entry: Entry, seed: int = 0) -> Built:
    """The model of an entry, its weights drawn, with example inputs; proved by a run."""
    torch.manual_seed(seed)
    model = entry.build().eval()
    enlarge(model)
    inputs = entry.inputs()
    if entry.name == "timesformer":
        inputs = {"pixel_values": torch.randn(BATCH, 4, 3, 32, 32)}
    module = (
        model
        if isinstance(model, (_Recurrent, _TorchTransformer, _UNet, _Fold))
        else named_module(model, inputs, entry.outputs)
    )
    with torch.no_grad():
        module(**inputs)
    return Built(entry.name, module, inputs, entry.free)


def write(model: Built, directory: Path) -> dict[str, str]:
    """Writes the two files and the inputs' specification; returns what failed, by suffix."""
    failed: dict[str, str] = {}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{model.name}.json").write_text(json.dumps(specification(model), indent=1) + "\n")
    for suffix, save in ((".pt", _save_traced), (".pt2", _save_exported)):
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                save(model, directory / f"{model.name}{suffix}")
        except Exception as error:  # the zoo tells which sources cannot be made at all
            failed[suffix] = (
                f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            )
    return failed


def specification(model: Built) -> list[dict[str, Any]]:
    """The inputs as `TensorSpec.to_dict` writes them."""
    return [
        {
            "name": name,
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": [model.free.get(name, {}).get(axis, size) for axis, size in enumerate(tensor.shape)],
            "traced": list(tensor.shape),
        }
        for name, tensor in model.inputs.items()
    ]


def _save_traced(model: Built, path: Path) -> None:
    traced = torch.jit.trace(model.module, tuple(model.inputs.values()), strict=False, check_trace=False)
    torch.jit.save(traced, str(path))


def _save_exported(model: Built, path: Path) -> None:
    free = {name: dict.fromkeys(model.free.get(name, {}), torch.export.Dim.AUTO) for name in model.inputs}
    program = torch.export.export(model.module, (), dict(model.inputs), dynamic_shapes=free, strict=False)
    torch.export.save(program, str(path))


def main() -> int:
    """Writes the models that the command line names, or all; 1 where one could not be built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", help="only these")
    options = parser.parse_args()
    bad = 0
    for entry in entries():
        if options.names and entry.name not in options.names:
            continue
        start = time.monotonic()
        try:
            failed = write(built(entry), options.directory)
        except Exception:
            bad += 1
            print(f"{entry.name}: not built: {traceback.format_exc().strip().splitlines()[-1]}")
            continue
        told = "; ".join(f"{suffix} {why}" for suffix, why in failed.items()) or "written"
        print(f"{entry.name} ({entry.kind}): {told}, {time.monotonic() - start:.1f} s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
