"""The generative pipeline's recipe: one file, a table for each stage; each stage has a folder in the run's folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from echoq_models.generative.stylegan2 import GeneratorConfig
from training import recipe as recipes
from training.channels import ChannelsConfig
from training.data.frames import FramesConfig
from training.denoiser import LossConfig
from training.discriminator import DiscriminatorConfig
from training.encoder import EncoderStageConfig
from training.encoder_losses import EncoderLossConfig
from training.gan import GanConfig
from training.loop import TrainConfig
from training.noise.learned import LearnConfig
from training.pair_denoiser import PairDenoiserConfig
from training.pairs import PairsConfig


@dataclass(frozen=True)
class PipelineConfig:
    """What `training/recipes/{tiny,default,paper}.toml` fill."""

    name: str
    title: str
    frames: FramesConfig = field(default_factory=FramesConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    gan: GanConfig = field(default_factory=GanConfig)
    encoder: EncoderStageConfig = field(default_factory=EncoderStageConfig)
    encoder_loss: EncoderLossConfig = field(default_factory=EncoderLossConfig)
    encoder_train: TrainConfig = field(default_factory=TrainConfig)
    channels: ChannelsConfig = field(default_factory=ChannelsConfig)
    channel_sets: LearnConfig = field(default_factory=LearnConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    denoiser: PairDenoiserConfig = field(default_factory=PairDenoiserConfig)
    denoiser_loss: LossConfig = field(default_factory=LossConfig)
    denoiser_train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.frames.side != self.generator.resolution:
            raise ValueError(f"frames of {self.frames.side} pixels for a generator of {self.generator.resolution}")


def read_recipe(path: Path) -> PipelineConfig:
    """The recipe in a TOML file (see `recipe.read`)."""
    tables = {
        "frames": FramesConfig,
        "generator": GeneratorConfig,
        "discriminator": DiscriminatorConfig,
        "gan": GanConfig,
        "encoder": EncoderStageConfig,
        "encoder_loss": EncoderLossConfig,
        "encoder_train": TrainConfig,
        "channels": ChannelsConfig,
        "channel_sets": LearnConfig,
        "pairs": PairsConfig,
        "denoiser": PairDenoiserConfig,
        "denoiser_loss": LossConfig,
        "denoiser_train": TrainConfig,
    }
    return recipes.read(path, PipelineConfig, tables)
