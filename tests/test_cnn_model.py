"""The network takes raw pixels and is what its configuration says."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from mnist_cnn.cnn_model import CNN, ModelConfig, RecurrentBlock
from mnist_cnn.common.errors import InputError
from mnist_cnn.splits import Dataset

RAW = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("stages", [((8,),), ((4, 8), (8,)), ((24,), (40, 40), (96,)), ((2,), (2,), (2,), (3, 5))])
def test_logits_for_every_shape(stages: tuple[tuple[int, ...], ...]) -> None:
    model = CNN(ModelConfig(stages=stages, classes=7)).eval()
    assert model(RAW).shape == (3, 7)
    assert model(RAW[:1]).shape == (1, 7)


def test_bytes_and_floats_are_the_same_pixels() -> None:
    model = CNN(ModelConfig()).eval()
    assert torch.equal(model(RAW), model(RAW.float()))


def test_normalisation_is_inside_the_model() -> None:
    config = ModelConfig(stages=((4,),), mean=0.25, std=0.5)
    model = CNN(config).eval()
    images = RAW.clone()
    images[:, :, [0, -1]] = images[:, :, :, [0, -1]] = 0  # a dark border
    images[:, :, 5, 5] = 255
    features = model.stages(model.space_to_depth(images.float() / 255 * 2 - 0.5))
    torch.testing.assert_close(model(images), model.classifier(features.flatten(1)))
    assert {"normalize.mean", "normalize.std"} <= set(model.state_dict())


def test_polarity_contrast_and_brightness_make_no_difference(mnist: Dataset) -> None:
    images = mnist.train.images[:200].float()
    model = CNN(ModelConfig(stages=((4,),))).eval()
    expected = model(images)
    for changed in (255 - images, 60 + images * 0.5, 200 - images * 0.25):
        torch.testing.assert_close(model(changed), expected, rtol=1e-3, atol=1e-3)
    plain = (images / 255 - model.config.mean) / model.config.std
    full_range = images.amax(dim=(1, 2, 3)) == 255
    assert full_range.float().mean() > 0.3
    torch.testing.assert_close(model.normalize(images)[full_range], plain[full_range])


def test_an_empty_image_has_finite_logits() -> None:
    for value in (0, 128, 255):
        assert CNN(ModelConfig()).eval()(torch.full((1, 1, 28, 28), value, dtype=torch.uint8)).isfinite().all()


def test_a_description_is_the_mean_of_each_convolution_but_the_first_and_comes_with_the_same_logits() -> None:
    model = CNN(ModelConfig(stages=((4, 8), (6, 5)))).eval()
    logits, features = model.logits_and_features(RAW)
    torch.testing.assert_close(logits, model(RAW))
    outputs: list[torch.Tensor] = []
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_hook(lambda _, __, output: outputs.append(output))
    model(RAW)
    assert [output.shape[1] for output in outputs] == [4, 8, 6, 5]
    torch.testing.assert_close(features, torch.cat([output.flatten(2).mean(dim=2) for output in outputs[1:]], dim=1))


def test_one_convolution_describes_by_itself() -> None:
    assert CNN(ModelConfig(stages=((4,),))).eval().logits_and_features(RAW)[1].shape == (3, 4)


def test_space_to_depth_and_3x3_equal_a_strided_6x6_convolution() -> None:
    torch.manual_seed(0)
    model = CNN(ModelConfig(stages=((6,),))).eval()
    convolution = model.get_submodule("stages.0.0")
    assert isinstance(convolution, torch.nn.Conv2d)
    kernel = F.pixel_shuffle(convolution.weight, 2)  # [6, 1, 6, 6]
    pixels = RAW.float()
    torch.testing.assert_close(
        convolution(model.space_to_depth(pixels)), F.conv2d(pixels, kernel, stride=2, padding=2), rtol=1e-4, atol=1e-2
    )


def test_parameter_count_by_hand() -> None:
    stages, channels, expected = ModelConfig().stages, 4, 0
    for width in (width for stage in stages for width in stage):
        expected += channels * width * 9 + 2 * width  # filters, batch norm's scale and shift
        channels = width
    expected += channels * 3 * 3 * 10 + 10
    assert CNN(ModelConfig()).parameter_count() == expected


def test_shared_convolutions_are_one_tensor_and_survive_a_checkpoint() -> None:
    stages = ((8, 8), (8, 8), (8,))
    shared = CNN(ModelConfig(stages=stages, shared=True))
    filters = [layer.weight for layer in shared.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(filters) == 2  # modules() lists a shared one once
    saved = CNN(ModelConfig(stages=stages)).parameter_count() - shared.parameter_count()
    assert saved == 3 * 8 * 8 * 9
    with torch.device("meta"):
        loaded = CNN(ModelConfig(stages=stages, shared=True))
    loaded.load_state_dict(shared.state_dict(), assign=True)
    assert loaded.parameter_count() == shared.parameter_count()
    assert torch.equal(loaded.eval()(RAW), shared.eval()(RAW))


LOOPED = ModelConfig(stages=((6,), (6, 6), (6, 6, 8)), looped=True)


def test_a_loop_counts_once_and_survives_a_checkpoint() -> None:
    model = CNN(LOOPED)
    first, step, last, classifier = 9 * 6 + 12, 9 * 6 + 6 * 6 + 12, 6 * 8 * 9 + 16, 8 * 7 * 7 * 10 + 10
    assert model.parameter_count() == first + step + last + classifier
    for _ in range(2):
        model(RAW)  # batch statistics
    with torch.device("meta"):
        loaded = CNN(LOOPED)
    loaded.load_state_dict(model.state_dict(), assign=True)
    assert loaded.parameter_count() == model.parameter_count()
    assert torch.equal(loaded.eval()(RAW), model.eval()(RAW))


def test_steps_share_weights_but_not_statistics_and_add_to_what_they_saw() -> None:
    model = CNN(LOOPED)
    model(RAW)
    steps = [layer for layer in model.modules() if isinstance(layer, RecurrentBlock)]
    assert len(steps) == 4
    assert len({id(step.convolution) for step in steps}) == 1
    assert not torch.equal(steps[0].mean, steps[1].mean)
    seen = torch.rand(2, 6, 7, 7)
    dense = steps[1].convolution.pointwise.weight * steps[1].convolution.depthwise.weight.transpose(0, 1)
    change = F.conv2d(seen, dense, padding=1) - steps[1].mean[:, None, None]
    change = change / (steps[1].var[:, None, None] + 1e-5).sqrt()
    torch.testing.assert_close(steps[1].eval()(seen), (seen + change).relu())


def test_a_loop_is_described_step_by_step() -> None:
    model = CNN(LOOPED).eval()
    logits, features = model.logits_and_features(RAW)
    torch.testing.assert_close(logits, model(RAW))
    assert features.shape == (3, 6 + 6 + 6 + 6 + 8)


def test_the_classifier_can_see_means() -> None:
    model = CNN(ModelConfig(stages=((8,), (16,)), average=True)).eval()
    assert model.classifier.in_features == 16
    means = model.stages(model.space_to_depth(model.normalize(RAW))).flatten(2).mean(dim=2)
    torch.testing.assert_close(model(RAW), model.classifier(means))


def test_classes_can_have_maps_and_a_loop_can_start_narrow() -> None:
    narrow = ModelConfig(stages=((4,), (12, 12)), looped=True, average=True, class_maps=True)
    model = CNN(narrow).eval()
    assert model.parameter_count() == 9 * 4 + 2 * 4 + 9 * 12 + 12 * 12 + 2 * 12 + 1
    torch.nn.init.constant_(model.get_parameter("classifier.scale"), 3)
    first = model.stages[0](model.normalize(RAW))
    assert first.shape[1] == 4
    maps = model.stages[1](torch.cat([first, torch.zeros(3, 8, 14, 14)], dim=1))
    torch.testing.assert_close(model(RAW), 3 * maps[:, :10].mean(dim=(2, 3)))
    torch.testing.assert_close(model.features(RAW), maps.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    "change",
    [
        *({"stages": stages} for stages in ((), ((),), ((8,),) * 5, ((0,),))),
        *({"class_maps": True}, {"class_maps": True, "average": True, "classes": 97}),
        *({"classes": 0}, {"std": 0.0}, {"std": math.inf}, {"std": math.nan}, {"mean": math.nan}, {"mean": math.inf}),
    ],
)
def test_impossible_networks_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        dataclasses.replace(ModelConfig(), **change)
