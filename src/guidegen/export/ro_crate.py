"""A run as a Provenance Run Crate: workflow, config, tables, and one action per job, as other tools can read them.

Profile: https://w3id.org/ro/wfrun/provenance/0.5 (Leo et al. 2024, doi:10.1371/journal.pone.0309210). Bulk is not in
the crate: its manifests (with a sha256 of every file) and its DVC pointers are.
"""

import hashlib
import io
import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guidegen.export.licences import RELEASE_LICENCE
from guidegen.export.release import Release, list_citations, write_folder
from guidegen.export.workflow_files import read_workflow
from guidegen.progress import track_progress
from guidegen.version.inventory import take_inventory
from guidegen.version.lineage import LINEAGE, Row, find_makers, read_lineage
from guidegen.version.repository import Repository

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
WORKFLOW = "workflow/Snakefile"
WORKFLOW_TYPES = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
REPORT = "results/report/index.html"
CONFIG = "config/config.yaml"
TYPES = {".tsv": "text/tab-separated-values", ".jsonl": "application/jsonl", ".yaml": "application/yaml"}
TYPES |= {".smk": "text/plain", ".dvc": "application/yaml", "": "text/plain"}
COMPLETED = "http://schema.org/CompletedActionStatus"
SNAKEMAKE = "https://snakemake.github.io"
CODE_LICENCE = "https://spdx.org/licenses/Apache-2.0"


def export_ro_crate(release: Release, out: Path) -> int:
    """Write the run as an RO-Crate into `out`; return the number of its files.

    Raises:
        GuideGenError: `out` is not empty, lineage is damaged, or the workflow of the run's code cannot be had.
    """
    with write_folder(out) as folder:
        writer = CrateWriter(release)
        files = writer.fill()
        with track_progress("ro-crate", 1, "crates") as advance:
            writer.crate.write(str(folder))
            advance(1)
    return files


@dataclass
class CrateWriter:
    """Builds one crate. An entity is added once and referred to by its id."""

    release: Release

    def __post_init__(self) -> None:
        from rocrate.rocrate import ROCrate

        self.crate: Any = ROCrate(version="1.1")
        self.crate.metadata.extra_terms["sha256"] = "https://w3id.org/ro/terms/workflow-run#sha256"
        self.root = self.release.study.root
        self.bulk = {entry.folder: entry.manifest for entry in take_inventory(self.root).bulk}
        self.workflow_files = read_workflow(self.release.code)
        self.ids: set[str] = set()

    def fill(self) -> int:
        """Add everything; return the number of files."""
        rows = read_lineage(self.root)
        files = self._add_files()
        jobs = list({id(made[-1]): made[-1] for made in find_makers(rows).values()}.values())
        jobs.sort(key=lambda row: (row["start"], row["run"], row["file"]))
        self._describe_root()
        phases = list(dict.fromkeys(job["phase"] for job in jobs))
        self._add_workflow(phases)
        actions = [self._add_job(job) for job in jobs]
        self._add_run(jobs, actions)
        return files

    def _add(self, identifier: str, kind: str | list[str], properties: Mapping[str, Any]) -> dict[str, str]:
        from rocrate.model.contextentity import ContextEntity

        if identifier not in self.ids:
            # RO-Crate 1.1 asks for a list of one to be written as the one.
            single = {
                key: value[0] if isinstance(value, list) and len(value) == 1 else value
                for key, value in properties.items()
            }
            self.crate.add(ContextEntity(self.crate, identifier, properties={"@type": kind, **single}))
            self.ids.add(identifier)
        return {"@id": identifier}

    def _add_files(self) -> int:
        tracked = Repository(self.root).git("ls-files", "-z", "--", "config", "data", "results").split("\0")
        names = [name for name in tracked if name and not name.endswith(".gitignore")]
        with track_progress("ro-crate", len(names), "files") as advance:
            for name in names:
                self._add_file((self.root / name).read_bytes(), name)
                advance(1, name)
        for name, content in self.workflow_files.items():
            if f"workflow/{name}" != WORKFLOW:
                self._add_file(content, f"workflow/{name}")
        return len(names)

    def _add_file(self, content: bytes, name: str) -> None:
        path = self.root / name
        properties = describe_content(content, name)
        if path.with_suffix("") in self.bulk and path.suffix == ".tsv":
            properties["description"] = "Manifest: one row per item, with path, bytes and sha256 of each bulk file"
        if path.suffix == ".dvc":
            properties["description"] = "DVC's pointer to the bulk folder of the same name"
        self.crate.add_file(io.BytesIO(content), name, properties=properties)
        self.ids.add(name)

    def _describe_root(self) -> None:
        release, root = self.release, self.crate.root_dataset
        forbidding = {source.collection: source.forbids for source in release.sources if source.forbids}
        root["name"] = release.title
        root["description"] = (
            f"The GuideGen study {release.study.config.study.name}, run {release.run.tag}: workflow, config, "
            "manifests, tables, report and lineage. Bulk files are named by the manifests and stored by DVC."
        )
        root["datePublished"] = release.run.date
        root["identifier"] = release.run.tag
        root["license"] = self._add_licence(forbidding)
        root["author"] = root["publisher"] = self._add_agent()
        root["citation"] = [
            self._add(address, "CreativeWork", {"name": address}) for address in list_citations(release.sources)
        ]
        root["conformsTo"] = [
            self._add(address, "CreativeWork", {"name": name, "version": version})
            for address, (name, version) in PROFILES.items()
        ]
        self.crate.metadata["conformsTo"] = [
            {"@id": "https://w3id.org/ro/crate/1.1"},
            {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
        ]

    def _add_licence(self, forbidding: Mapping[str, str]) -> dict[str, str]:
        if not forbidding:
            text = "Adapted from sources under the licences that data/index/ states; cite them."
            return self._add(
                RELEASE_LICENCE, "CreativeWork", {"name": "CC BY 4.0", "identifier": "CC-BY-4.0", "description": text}
            )
        named = ", ".join(f"{collection} ('{licence}')" for collection, licence in sorted(forbidding.items()))
        text = f"For audits only. These sources forbid a release: {named}."
        return self._add("#not-for-release", "CreativeWork", {"name": "Not for release", "description": text})

    def _add_workflow(self, phases: Iterable[str]) -> None:
        from rocrate.model.computationalworkflow import ComputationalWorkflow

        content = self.workflow_files["Snakefile"]
        workflow = self.crate.add_workflow(
            io.BytesIO(content),
            WORKFLOW,
            properties={"@type": WORKFLOW_TYPES, **describe_content(content, WORKFLOW)},
            main=True,
            lang="snakemake",
            cls=ComputationalWorkflow,
        )
        workflow["name"] = "GuideGen"
        workflow["version"] = self.release.code
        workflow["description"] = "From an index of CT series to segmenters trained on synthetic CT, and the report"
        workflow["license"] = self._add(CODE_LICENCE, "CreativeWork", {"name": "Apache-2.0"})
        tools, steps = [], []
        for position, phase in enumerate(phases, 1):
            tool = {"name": f"guidegen {phase}", "softwareVersion": self.release.code}
            tools.append(self._add(f"#tool-{phase}", "SoftwareApplication", tool))
            step = {"name": phase, "position": str(position), "workExample": tools[-1]}
            steps.append(self._add(f"#step-{phase}", "HowToStep", step))
        workflow["hasPart"], workflow["step"] = tools, steps
        workflow["input"] = [self._add_parameter("config", CONFIG, "application/yaml")]
        workflow["output"] = [self._add_parameter("report", REPORT, "text/html")] if REPORT in self.ids else []
        self.workflow = workflow

    def _add_parameter(self, name: str, file: str, kind: str) -> dict[str, str]:
        self.crate.get(file)["exampleOfWork"] = {"@id": f"#parameter-{name}"}
        conforms = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
        properties = {
            "name": name,
            "additionalType": "File",
            "encodingFormat": kind,
            "valueRequired": "True",
            "workExample": {"@id": file},
            "conformsTo": self._add(conforms, "CreativeWork", {"name": "FormalParameter", "version": "1.0-RELEASE"}),
        }
        return self._add(f"#parameter-{name}", "FormalParameter", properties)

    def _refer(self, paths: Iterable[str]) -> list[dict[str, str]]:
        """Return references to files of the crate; a bulk file is stood for by the manifest that names it."""
        found = dict.fromkeys(name for path in paths if (name := self._find_file(path)) in self.ids)
        return [{"@id": name} for name in found]

    def _find_file(self, path: str) -> str:
        full = self.root / path
        for folder in full.parents:
            if folder in self.bulk:
                return self.bulk[folder].relative_to(self.root).as_posix()
        return path

    def _add_job(self, job: Row) -> dict[str, str]:
        name = f"{job['run']}/{job['file'].removesuffix('.json')}"
        facts = ("code", "config", "environment", "seed", "threads", "python", "scheduler_job")
        action = self._add(
            f"#job-{name}",
            "CreateAction",
            {
                "name": name,
                "description": " ".join(job.get("command", [])),
                **_name_times(job["start"], job.get("end", job["start"])),
                "instrument": {"@id": f"#tool-{job['phase']}"},
                "object": self._refer([CONFIG, *job["inputs"]]),
                "result": self._refer(job["outputs"]),
                "actionStatus": COMPLETED,
                "agent": self._add_agent(),
                "additionalProperty": [
                    self._add(
                        f"#{fact}-{job[fact]}", "PropertyValue", {"name": fact, "propertyID": fact, "value": job[fact]}
                    )
                    for fact in facts
                    if job.get(fact) not in (None, "")
                ],
            },
        )
        self._add(
            f"#control-{name}",
            "ControlAction",
            {
                "name": f"orchestrate {name}",
                "instrument": {"@id": f"#step-{job['phase']}"},
                "object": action,
                "actionStatus": COMPLETED,
            },
        )
        return action

    def _add_run(self, jobs: list[Row], actions: list[dict[str, str]]) -> None:
        outputs = self._refer([REPORT, LINEAGE.as_posix()])
        run = self._add(
            f"#{self.release.run.tag}",
            "CreateAction",
            {
                "name": f"Run of {self.release.title}",
                "description": "guidegen run",
                **_name_times(
                    min((job["start"] for job in jobs), default=self.release.run.date),
                    max((job.get("end", job["start"]) for job in jobs), default=self.release.run.date),
                ),
                "instrument": {"@id": self.workflow.id},
                "object": self._refer([CONFIG]),
                "result": outputs,
                "actionStatus": COMPLETED,
                "agent": self._add_agent(),
            },
        )
        engine = self._add("#snakemake", "SoftwareApplication", {"name": "Snakemake", "url": SNAKEMAKE})
        organize = self._add(
            "#snakemake-run",
            "OrganizeAction",
            {
                "name": "Snakemake ran the workflow",
                "instrument": engine,
                "object": [{"@id": action["@id"].replace("#job-", "#control-")} for action in actions],
                "result": run,
                "actionStatus": COMPLETED,
            },
        )
        self.crate.root_dataset["mentions"] = [run, organize, *actions]

    def _add_agent(self) -> dict[str, str]:
        return self._add("#maintainers", "Organization", {"name": "The maintainers of this study"})


def _name_times(start: str, end: str) -> dict[str, str]:
    """Return start and end as ISO 8601 with an offset, the form that the profile's validator knows."""
    return {"startTime": start.replace("Z", "+00:00"), "endTime": end.replace("Z", "+00:00")}


def describe_content(content: bytes, name: str) -> dict[str, Any]:
    """Return name, media type, bytes and sha256 of a file of the crate."""
    kind = TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    digest = hashlib.sha256(content).hexdigest()
    return {"name": name, "encodingFormat": kind, "contentSize": str(len(content)), "sha256": digest}
