"""nnU-Net's own commands by name: `python -m guidegen.segment.nnunet_tools plan_and_preprocess -d 1 …`.

They are what `nnUNetv2_plan_and_preprocess` and `nnUNetv2_train` call, started where torchvision loads (see
`load_torchvision`); nnU-Net's worker processes import this module, too.
"""

import sys

from guidegen.mask.totalsegmentator import load_torchvision

load_torchvision()


def main() -> None:
    """Run one command with the arguments that follow its name."""
    command = sys.argv.pop(1)
    if command == "plan_and_preprocess":
        from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import (  # pyright: ignore[reportMissingImports]
            plan_and_preprocess_entry,
        )

        plan_and_preprocess_entry()
    elif command == "train":
        from nnunetv2.run.run_training import run_training_entry  # pyright: ignore[reportMissingImports]

        run_training_entry()
    else:
        raise SystemExit(f"no command '{command}'; there are plan_and_preprocess and train")


if __name__ == "__main__":
    main()
