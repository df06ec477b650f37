"""The explorer's page, in the style of the report and with its viewer."""

from importlib.resources import files

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from guidegen.explore.drawing import Explorer
from guidegen.report.blocks import CaseCard, Gallery
from guidegen.report.viewer_files import BUNDLE, describe_viewer, read_library

EXAMPLE = "68-year-old woman with lung cancer, 4 cm mass in the right lung, portal venous phase, chest to pelvis"


class ExplorerPage:
    """Renders the page and what it shows of a drawing."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.environment = Environment(
            loader=ChoiceLoader([PackageLoader(f"guidegen.{name}", "assets") for name in ("explore", "report")]),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self.environment.globals.update(svg=Markup, link=str)
        found, _ = read_library()
        self.library = found[BUNDLE] if found else b""
        """NiiVue, empty where it is not in the cache and cannot be fetched."""

    def render(self) -> bytes:
        """Return the page."""
        study = self.explorer.study
        report, explore = (files(f"guidegen.{name}") / "assets" for name in ("report", "explore"))
        style, viewer = (Markup((report / name).read_text(encoding="utf-8")) for name in ("style.css", "viewer.js"))
        script = Markup((explore / "explore.js").read_text(encoding="utf-8"))
        page = self.environment.get_template("explore.html.j2").render(
            name=study.config.study.name,
            example=EXAMPLE,
            seed=study.config.study.seed,
            models=self.explorer.models,
            style=style,
            script=viewer + script if self.library else script,
            library="niivue.js" if self.library else "",
            viewer_facts=Markup(describe_viewer(study.labels)),
        )
        return page.encode()

    def render_card(self, card: CaseCard) -> str:
        """Return a drawing's card as a fragment of HTML."""
        text = '{% from "blocks.html.j2" import gallery with context %}{{ gallery(block) }}'
        block = Gallery([card], "", switch=True, overlay=False)
        return self.environment.from_string(text).render(block=block, library=bool(self.library), missing_viewer=False)
