"""Draws one prompt at a time with the trained models of a study."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from monai.networks.schedulers.ddpm import DDPMScheduler
from torch.utils.hooks import RemovableHandle

from guidegen.errors import GuideGenError
from guidegen.models.latent_generator import LatentGenerator
from guidegen.models.semantic_synthesizer import SemanticSynthesizer
from guidegen.report.blocks import CaseCard
from guidegen.report.synthetic_part import draw_rows
from guidegen.report.viewer_files import embed_pair
from guidegen.seeds import derive_seed
from guidegen.study import Study
from guidegen.synthesize.cases import CaseMaker, Draw
from guidegen.synthesize.plan import CaseRequest
from guidegen.synthesize.prompts import Prompt, check_prompt
from guidegen.synthesize.sampler import read_model_hashes
from guidegen.synthesize.volumes import center_grid

KEPT = 4
"""Drawings whose volumes the viewer can still open."""
LARGEST_SEED = 2**31 - 1
log = logging.getLogger(__name__)


class BusyError(GuideGenError):
    """Another prompt is being drawn."""


@dataclass
class Drawing:
    """One prompt on its way to a label map and a CT."""

    number: int
    prompt: Prompt
    seed: int
    step: str = "reading the models"
    done: int = 0
    total: int = 0
    error: str = ""
    card: CaseCard | None = None
    script: str = ""
    """What the viewer loads."""

    @property
    def case(self) -> str:
        return f"drawing-{self.number}"

    @property
    def running(self) -> bool:
        return not (self.error or self.card)


class Explorer:
    """Draws prompts one after the other, in a thread of its own."""

    def __init__(self, study: Study) -> None:
        """Check that the study's models are there; they are read when the first prompt comes.

        Raises:
            GuideGenError: a stage was not trained yet.
        """
        self.study = study
        self.models = read_model_hashes(study)
        self.drawings: dict[int, Drawing] = {}
        """The last few, oldest first."""
        self._count = 0
        self._lock = threading.Lock()

    def submit(self, text: str, seed: int) -> Drawing:
        """Begin to draw a prompt.

        Raises:
            GuideGenError: the prompt is empty, too long or contradicts itself, or the seed is out of range.
            BusyError: another one is being drawn.
        """
        prompt = check_prompt(text, "The prompt")
        if not 0 <= seed <= LARGEST_SEED:
            raise GuideGenError(f"The seed is {seed}; expected a whole number from 0 to {LARGEST_SEED}")
        with self._lock:
            if any(drawing.running for drawing in self.drawings.values()):
                raise BusyError("Another prompt is being drawn; one at a time.")
            self._count += 1
            drawing = self.drawings[self._count] = Drawing(self._count, prompt, seed)
            for number in sorted(self.drawings)[:-KEPT]:
                del self.drawings[number]
        threading.Thread(target=self._work, args=(drawing,), name=drawing.case, daemon=True).start()
        return drawing

    @cached_property
    def maker(self) -> CaseMaker:
        """The models, ready to draw; read on first use."""
        return CaseMaker.load(self.study, [], reject=False)

    def _work(self, drawing: Drawing) -> None:
        try:
            maker = self.maker
            seed = derive_seed(drawing.seed, "synthesize", drawing.prompt.text, 0)
            request = CaseRequest(
                drawing.case, drawing.prompt.text, drawing.prompt.statements, "", "", None, None, seed
            )
            with follow_steps(maker, drawing):
                draw = maker.draw(request)
            drawing.step = "drawing the pictures"
            self._show(drawing, draw, maker.list_notes(request))
        except GuideGenError as error:
            drawing.error = str(error)
        except Exception as error:  # a thread that ends in silence would leave the page waiting for ever
            log.exception("%s", drawing.case)
            drawing.error = f"{type(error).__name__}: {error}"

    def _show(self, drawing: Drawing, draw: Draw, notes: list[str]) -> None:
        pair = draw.pair
        assert pair.ct is not None
        size, fold = pair.labels.shape[0], pair.ct.shape[0] // pair.labels.shape[0]
        affine = center_grid(size, pair.spacing, fold).affine
        edge = self.study.config.report.viewer_edge
        drawing.script = embed_pair(drawing.case, pair.ct, pair.labels, affine, edge).write_script()
        styles = {True: ("passed", "good"), False: ("failed", "bad"), None: ("does not apply", "")}
        marks = [
            (f"{name.replace('_', ' ')} {styles[r.passed][0]}", styles[r.passed][1]) for name, r in draw.gates.items()
        ]
        marks += [(f"{key.replace('_', ' ')}: {_say(value)}", "") for key, value in drawing.prompt.statements.items()]
        marks += [(note, "warn") for note in notes]
        marks.append((f"voxels of {' × '.join(f'{v:.3g}' for v in pair.spacing)} mm: {draw.spacing_source}", ""))
        rows = draw_rows(self.study, pair.labels, pair.ct, pair.spacing, drawing.case)
        drawing.card = CaseCard(
            drawing.case, rows, f"{drawing.prompt.text}  (seed {drawing.seed})", marks, (), f"{drawing.case}.js"
        )


@contextmanager
def follow_steps(maker: CaseMaker, drawing: Drawing) -> Iterator[None]:
    """Count the steps of both samplers while the block runs: each step calls a network once."""
    models = maker.sampler.sampler
    hooks = [
        _count_calls(models.synthesizer, "drawing the label map", drawing),
        _count_calls(models.generator, "drawing the CT", drawing),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _count_calls(stage: SemanticSynthesizer | LatentGenerator, step: str, drawing: Drawing) -> RemovableHandle:
    settings = stage.settings
    every = isinstance(stage, LatentGenerator) and isinstance(stage.scheduler, DDPMScheduler)
    total = settings.timesteps if every else min(settings.sampling_steps, settings.timesteps)

    def count(*_: object) -> None:
        if drawing.step != step:
            drawing.step, drawing.done, drawing.total = step, 0, total
        drawing.done += 1

    return stage.register_forward_pre_hook(count)


def _say(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else json.dumps(value).strip('"')
