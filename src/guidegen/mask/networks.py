"""TotalSegmentator's networks, built once per process.

Its API makes an nnU-Net predictor for each case and each of its models, which reads the checkpoint, builds the network
and starts two fresh Pythons, one that prepares the image and one that writes the labels. That predictor can be kept,
and can do the same work within the process; here TotalSegmentator is given one that does both. The labels are the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from guidegen.errors import GuideGenError

_KEPT: dict[tuple[object, ...], dict[str, Any]] = {}
"""What a predictor read and built, by model folder, folds, checkpoint (with its date) and device."""


@contextmanager
def keep_networks() -> Iterator[None]:
    """Let TotalSegmentator use networks that earlier cases of this process built.

    Raises:
        GuideGenError: the installed TotalSegmentator takes its predictor from somewhere else.
    """
    nnunet: Any = import_module("totalsegmentator.nnunet")
    stock = getattr(nnunet, "nnUNetPredictor", None)
    if stock is None or not hasattr(stock, "predict_from_files_sequential"):
        raise GuideGenError(
            "the installed TotalSegmentator does not make its predictor in totalsegmentator.nnunet; install the "
            "version that envs/segmentation.txt pins"
        )
    nnunet.nnUNetPredictor = _derive(stock)
    try:
        yield
    finally:
        nnunet.nnUNetPredictor = stock


def _derive(stock: Any) -> Any:
    """Return a predictor class that keeps what it loaded and works in this process."""

    class KeptPredictor(stock):
        def initialize_from_trained_model_folder(
            self, model_training_output_dir: str, use_folds: Any, checkpoint_name: str = "checkpoint_final.pth"
        ) -> None:
            files = sorted(Path(model_training_output_dir).glob(f"fold_*/{checkpoint_name}"))
            dates = tuple(path.stat().st_mtime_ns for path in files)
            key = (model_training_output_dir, str(use_folds), checkpoint_name, dates, str(self.device))
            if key in _KEPT:
                self.__dict__.update(_KEPT[key])
                return
            before = dict(vars(self))
            super().initialize_from_trained_model_folder(model_training_output_dir, use_folds, checkpoint_name)
            _KEPT[key] = {name: value for name, value in vars(self).items() if value is not before.get(name)}

        def predict_from_files(
            self,
            source: Any,
            target: Any,
            save_probabilities: bool = False,
            overwrite: bool = True,
            num_processes_preprocessing: int = 1,
            num_processes_segmentation_export: int = 1,
            folder_with_segs_from_prev_stage: str | None = None,
            num_parts: int = 1,
            part_id: int = 0,
            **options: Any,
        ) -> Any:
            return self.predict_from_files_sequential(
                source, target, save_probabilities, overwrite, folder_with_segs_from_prev_stage, **options
            )

    return KeptPredictor
