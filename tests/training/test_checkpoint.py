"""Checkpoints: a training goes on bit for bit, and a broken write leaves the one before."""

import errno
import json

import pytest
import torch

from heatgrad.core.errors import HeatgradWarning, RunError, StoreError
from heatgrad.data import Digits, Pixels
from heatgrad.models import SimpleCNN
from heatgrad.optim import DiffusionNesterov
from heatgrad.training import LOSSES, SCHEDULES, CropFlip, Recipe, Training, initialised
from heatgrad.training.checkpoint import Checkpoints

EPOCHS = 4
RECIPE = Recipe(
    augment=CropFlip(Pixels((0.0,), (1.0,)), pad=1), average=0.9, diffusion_decay=True, accumulate=2
)


@pytest.fixture(scope="module")
def data():
    return Digits(num_test=1600).load(0)


OPTIMIZERS = {
    "velocity": lambda params: DiffusionNesterov(params, lr=0.1, diffusion=0.2),
    "Adam": lambda params: torch.optim.Adam(params, lr=0.01),
}


def made(data, name="velocity", channels=4, recipe=RECIPE):
    model = initialised(lambda: SimpleCNN((1, 8, 8), 10, channels=(channels, 4), hidden=8), seed=0)
    optimizer = OPTIMIZERS[name](model.parameters())
    scheduler = SCHEDULES["cosine-restarts"](optimizer, EPOCHS, first=2, factor=1)
    return Training(
        model,
        optimizer,
        data,
        loss=LOSSES["cross_entropy"],
        epochs=EPOCHS,
        batch_size=32,
        seed=3,
        scheduler=scheduler,
        recipe=recipe,
    )


def run(training, checkpoints, records, *, stop=EPOCHS):
    for record in training.records():
        records.append(record)
        checkpoints.save(training, records)
        if training.num_done == stop:
            break
    return records


def told(records):
    return [{k: v for k, v in vars(r).items() if k != "seconds"} for r in records]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_left_after_any_epoch_goes_on_bit_for_bit(data, tmp_path, name):
    whole = made(data, name)
    expected = told(run(whole, Checkpoints(tmp_path / "whole", identity="a"), []))
    for stop in range(1, EPOCHS):
        checkpoints = Checkpoints(tmp_path / str(stop), identity="a")
        run(made(data, name), checkpoints, [], stop=stop)
        torch.manual_seed(stop)  # what the generator does meanwhile is nobody's concern
        again = made(data, name)
        records = checkpoints.restore(again)
        assert again.num_done == stop
        run(again, checkpoints, records)
        assert told(records) == expected
        for key, value in whole.model.state_dict().items():
            assert torch.equal(again.model.state_dict()[key], value), key


def test_nothing_is_restored_from_nothing(data, tmp_path):
    training = made(data)
    assert Checkpoints(tmp_path / "none", identity="a").restore(training) == []
    assert training.num_done == 0


def test_the_last_ones_are_kept(data, tmp_path):
    checkpoints = Checkpoints(tmp_path, identity="a", keep=2)
    run(made(data), checkpoints, [])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch-000003", "epoch-000004"]
    assert checkpoints.latest == tmp_path / "epoch-000004"


@pytest.mark.parametrize("name", ["save_file", "torch.save", "_settle"])
def test_a_full_disk_leaves_the_one_before(data, tmp_path, monkeypatch, name):
    checkpoints = Checkpoints(tmp_path, identity="a")
    training = made(data)
    records = run(training, checkpoints, [], stop=1)

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    next(training.records())
    with monkeypatch.context() as patch:
        patch.setattr(f"heatgrad.training.checkpoint.{name}", full)
        with pytest.raises(RunError, match=r"No space left.*goes on from '.*epoch-000001'"):
            checkpoints.save(training, records)
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-000001"]
    again = made(data)
    assert len(checkpoints.restore(again)) == again.num_done == 1


def test_what_a_killed_process_left_is_no_checkpoint(data, tmp_path):
    checkpoints = Checkpoints(tmp_path, identity="a")
    training = made(data)
    records = run(training, checkpoints, [], stop=1)
    broken = tmp_path / "epoch-000002.unfinished"
    broken.mkdir()
    (broken / "weights.safetensors").write_bytes(b"half of it")
    again = made(data)
    assert len(checkpoints.restore(again)) == 1
    run(again, checkpoints, records, stop=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch-000001", "epoch-000002"]


def test_another_training_is_refused(data, tmp_path):
    run(made(data), Checkpoints(tmp_path, identity="a"), [], stop=1)
    with pytest.raises(StoreError, match="is a checkpoint of another training"):
        Checkpoints(tmp_path, identity="b").restore(made(data))
    same = Checkpoints(tmp_path, identity="a")
    with pytest.raises(StoreError, match=r"another network or optimizer \(.*features.0.weight"):
        same.restore(made(data, channels=3))
    with pytest.raises(StoreError, match="state must be that of the same training, with"):
        same.restore(made(data, recipe=Recipe()))


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "about.json"])
def test_a_damaged_one_is_named(data, tmp_path, name):
    checkpoints = Checkpoints(tmp_path, identity="a")
    run(made(data), checkpoints, [], stop=1)
    (tmp_path / "epoch-000001" / name).write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"000001' is damaged .*remove it: .* from the start$"):
        checkpoints.restore(made(data))


def test_what_is_left_is_named(data, tmp_path):
    checkpoints = Checkpoints(tmp_path, identity="a")
    run(made(data), checkpoints, [], stop=2)
    (tmp_path / "epoch-000002" / "state.pt").write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"000002' is damaged .* goes on from '.*epoch-000001'$"):
        checkpoints.restore(made(data))


def about(data, folder):
    """Train an epoch; return its checkpoints, and the words of it with their file."""
    checkpoints = Checkpoints(folder, identity="a")
    run(made(data), checkpoints, [], stop=1)
    file = folder / "epoch-000001" / "about.json"
    return checkpoints, json.loads(file.read_text()), file


@pytest.mark.parametrize(
    "change",
    [
        lambda about: [about],
        lambda about: "a",
        lambda about: about | {"records": about["records"][0]},
        lambda about: about | {"records": [about["records"][0] | {"more": 1}]},
        lambda about: about | {"records": [{}]},
        lambda about: about | {"records": None},
        lambda about: {"identity": "a"},
    ],
)
def test_words_of_another_form_are_damage(data, tmp_path, change):
    checkpoints, found, file = about(data, tmp_path)
    file.write_text(json.dumps(change(found)))
    with pytest.raises(StoreError, match=r"epoch-000001' is damaged \(\w+Error: .*remove it"):
        checkpoints.restore(made(data))


def test_another_version_of_pytorch_is_warned_of(data, tmp_path):
    checkpoints, found, file = about(data, tmp_path)
    assert len(checkpoints.restore(made(data))) == 1  # of the same, nothing
    file.write_text(json.dumps(found | {"torch": "1.0.0"}))
    with pytest.warns(HeatgradWarning, match=r"written by PyTorch 1\.0\.0, .* install that"):
        assert len(checkpoints.restore(made(data))) == 1


def test_memory_that_runs_out_is_no_damage(data, tmp_path, monkeypatch):
    """Nobody is told to remove a checkpoint that is whole."""
    checkpoints, *_ = about(data, tmp_path)

    def fail(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    for place in ("heatgrad.training.checkpoint.load_file", "torch.nn.Module.load_state_dict"):
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            with pytest.raises(torch.OutOfMemoryError):
                checkpoints.restore(made(data))


def test_at_least_one_is_kept(tmp_path):
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        Checkpoints(tmp_path, identity="a", keep=0)
