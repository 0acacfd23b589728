"""The frozen records that modules hand to each other. No tensors, no third parties; read this file first."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

TEACHER = "teacher"  # in Stage.teachers: the search's own teacher, not an earlier stage's student

DONOR = "donor"  # the stage of a larger relative that a student inherits from; it teaches nobody
PRETRAIN = "pretrain"  # the stage in which a student learns from teachers without labels

UNLABELLED = -1  # the label of an image that has none

PRECISIONS = ("fp32", "fp16", "int8")
PRETRAINED = "pretrained"  # in StudentSpec.start
HEIR = "heir"  # likewise

Scalar = str | int | float | bool | None
Arguments = Mapping[str, Any]  # values: Scalar, or a tuple of numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentSpec:
    """An architecture: a timm model, or a member of a parametric family. Classes and channels come from the data."""

    model: str  # a timm name, or a key of autokd.students.FAMILIES
    arguments: Arguments = field(
        default_factory=dict
    )  # a family's parameters, or the timm model's keywords
    image_size: int  # pixels; images are square
    precision: str = "fp32"  # one of PRECISIONS: the numbers that it ships in
    pruned: float = 0.0  # share of its channels that a last stage removes
    # PRETRAINED: timm's weights; HEIR: a larger relative's, which its first stage starts from; else a file of them;
    # None: random ones
    start: str | None = None
    # of each channel, that its pixels (0..1) are normalised by; None: the data's
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def identity(self) -> dict[str, Any]:
        """As `Stage.identity`."""
        return _in_use(asdict(self), _ADDED_TO_STUDENTS)

    def architecture(self) -> dict[str, Any]:
        """What its costs follow from: the identity without where its weights come from and what its pixels are normalised by."""
        return replace(self, start=None, mean=None, std=None).identity()

    def describe(self) -> str:
        """``resnet width=16 depth=1, 32 px``; ``…, pretrained, pruned 30%, int8`` or ``…, heir`` where that is so."""
        arguments = " ".join(f"{k}={_short(v)}" for k, v in self.arguments.items())
        notes = [HEIR if self.start == HEIR else PRETRAINED] if self.start else []
        notes += [f"pruned {self.pruned:.0%}"] if self.pruned else []
        notes += [self.precision] if self.precision != "fp32" else []
        return ", ".join([f"{self.model} {arguments}".strip(), f"{self.image_size} px", *notes])


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How one stage is optimised."""

    epochs: int
    batch_size: int
    optimizer: str  # a name that timm.optim knows
    learning_rate: float
    weight_decay: float
    label_smoothing: float = 0.0  # of the cross-entropy; 0..1
    drop_rate: float = 0.0  # dropout before the classifier
    drop_path_rate: float = 0.0  # stochastic depth
    augmentation: str = "none"  # a key of autokd.data.augment.AUGMENTATIONS
    patience: int | None = (
        None  # epochs without a better val accuracy before a stage stops; None: never
    )
    precision: str = "auto"  # auto (bf16 autocast on a GPU that has it), fp32 or bf16
    mixup: float = 0.0  # alpha of the Beta that pairs of images are mixed by; 0: none
    cutmix: float = 0.0  # likewise, of the share of an image that is another's
    ema: float = 0.0  # decay of the moving average of weights that is kept in their place; 0: none
    clip_norm: float = 0.0  # the most that the gradient's norm may be; 0: any
    body_rate: float = 1.0  # factor of the learning rate of all but the classifier
    trained_blocks: int | None = None  # from the last one back, beside the classifier; None: all


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One training. Its teachers are earlier stages' students, or the search's teacher; none: labels alone."""

    name: str  # DONOR, assistant_1, assistant_2, PRETRAIN, student, prune, finetune
    student: StudentSpec
    teachers: tuple[str, ...]  # TEACHER or earlier stages' names
    loss_weights: Mapping[str, float]  # loss name -> weight > 0
    temperature: float  # divides both logits; > 0
    training: Training
    # whose weights this one continues, or inherits from where they are another architecture's: TEACHER or an
    # earlier stage; None: those that its student starts from
    start_from: str | None = None
    mitigation: str = "none"  # what it does for groups: one of autokd.mitigation.MITIGATIONS
    # loss name -> its own keywords, such as DKD's alpha and beta; what is not here is as by default
    loss_arguments: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    taps: int = 1  # feature maps that a loss on features compares, from the last one back
    balance: str = "fixed"  # labels against teachers: one of autokd.balance.BALANCES
    teacher_warmup: float = 0.0  # share of the training over which the teachers' losses come in
    teacher_until: float = 1.0  # share of it after which labels alone remain
    teacher_drop: float = 0.0  # of several teachers: how probably each is left out of a step

    def identity(self) -> dict[str, Any]:
        """What it is told apart by. Of what later versions brought only what is in use: what was known before
        there was the choice is found again under its old hash."""
        record = _in_use(asdict(self), _ADDED_TO_STAGES)
        record["training"] = _in_use(record["training"], _ADDED_TO_TRAINING)
        record["student"] = self.student.identity()
        return record


_ADDED_TO_STAGES: Mapping[str, Any] = {
    "mitigation": "none", "loss_arguments": {}, "taps": 1, "balance": "fixed", "teacher_warmup": 0.0,
    "teacher_until": 1.0, "teacher_drop": 0.0,
}  # fmt: skip
_ADDED_TO_TRAINING: Mapping[str, Any] = {
    "mixup": 0.0, "cutmix": 0.0, "ema": 0.0, "clip_norm": 0.0, "body_rate": 1.0, "trained_blocks": None,
}  # fmt: skip
_ADDED_TO_STUDENTS: Mapping[str, Any] = {
    "precision": "fp32", "pruned": 0.0, "start": None, "mean": None, "std": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Everything a search decides about one trial. The last stage's student is what would be deployed."""

    stages: tuple[Stage, ...]

    @property
    def student(self) -> StudentSpec:
        return self.stages[-1].student

    @property
    def assistants(self) -> tuple[Stage, ...]:
        """Trained once for all candidates that share them."""
        return tuple(stage for stage in self.stages if stage.name.startswith("assistant"))

    @property
    def donor(self) -> Stage | None:
        """Trained once likewise; it has no epochs where it is a published model."""
        return next((stage for stage in self.stages if stage.name == DONOR), None)

    def stage(self, name: str | None) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    @property
    def own_stages(self) -> tuple[Stage, ...]:
        """Those that are this candidate's alone."""
        others = (*self.assistants, self.donor)
        return tuple(stage for stage in self.stages if stage not in others)

    @property
    def is_taught(self) -> bool:
        """Whether any of its stages has a teacher."""
        return any(stage.teachers for stage in self.stages)

    @property
    def epochs(self) -> int:
        """Of the stages that are the candidate's own."""
        return sum(stage.training.epochs for stage in self.own_stages)

    @property
    def pretrain_epochs(self) -> int:
        """Of the stage without labels. Nothing is judged before they are over."""
        return sum(stage.training.epochs for stage in self.stages if stage.name == PRETRAIN)

    @property
    def hash(self) -> str:
        """16 hex digits, equal for equal candidates on every machine."""
        return content_hash({"stages": [stage.identity() for stage in self.stages]})

    def describe_stages(self) -> str:
        """``T→A→S``: teacher, assistant, student; ``T→A⇉S`` where both teach the student; ``labels→S`` without a teacher,
        ``T→pre→S`` with a first stage without labels, ``T→S→pruned`` and ``T→S→labels``, fine-tuned, after it;
        ``T→S (from T)`` where it inherits from its teacher."""
        stages = [stage for stage in self.stages if stage is not self.donor]
        shown = "T" if stages[0].teachers else "labels"
        letters = {PRETRAIN: "pre", "student": "S", "prune": "pruned", "finetune": "labels"}
        for stage in stages:
            shown += "⇉" if len(stage.teachers) > 1 else "→"
            shown += letters.get(stage.name, "A")
        donor = self.own_stages[0].start_from
        return shown + (f" (from {_LETTERS.get(donor, 'A')})" if donor else "")

    def inherits_from(self) -> str | None:
        """``the teacher``, ``assistant 1`` or a donor in words; None: its student starts from weights of its own or random ones."""
        first = self.own_stages[0].start_from
        if first == DONOR and self.donor:
            return describe_donor(self.donor)
        return "the teacher" if first == TEACHER else first and first.replace("_", " ")

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars: what YAML and JSON hold."""
        record: dict[str, Any] = _plain(asdict(self))
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Candidate:
        return cls(stages=tuple(_stage_from_dict(stage) for stage in record["stages"]))

    def to_params(self) -> dict[str, str]:
        """Flat text keys and values, a stage's name first (``student.training.learning_rate``), for MLflow's params."""
        params = {"stages": " ".join(stage.name for stage in self.stages)}
        for stage in self.to_dict()["stages"]:
            name = stage.pop("name")
            params |= {f"{name}.{key}": _to_text(value) for key, value in _flatten(stage).items()}
        return params

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> Candidate:
        """Inverse of `to_params`; keys of no stage are ignored."""
        stages = []
        for name in params["stages"].split():
            prefix = f"{name}."
            flat = {
                k.removeprefix(prefix): _from_text(v)
                for k, v in params.items()
                if k.startswith(prefix)
            }
            stages.append({"name": name} | _unflatten(flat))
        return cls.from_dict({"stages": stages})


def describe_donor(stage: Stage) -> str:
    """``resnet width=64, 32 px, trained on labels for 10 epochs``."""
    epochs = stage.training.epochs
    trained = f", trained on labels for {epochs} epochs" if epochs else ""
    return stage.student.describe() + trained


_LETTERS = {TEACHER: "T", DONOR: DONOR}  # in `describe_stages`, of whom a student inherits from

# In this order wherever costs are listed.
COSTS = ("macs", "params", "latency_ms", "size_bytes", "activation_bytes")
ACCURACIES = ("val_accuracy", "worst_group_accuracy")  # objectives of which more is better


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one student costs at inference, in its deployed form; batch 1 unless the latency says otherwise."""

    macs: int  # multiply-accumulates of one image; FLOPs = 2 x MACs
    params: int
    size_bytes: int  # weights and buffers as they ship, in weight_dtype
    activation_bytes: int | None = None  # the most that is in memory at once beside the weights
    weight_dtype: str = "fp32"  # one of PRECISIONS
    latency_ms: float | None = None  # the fastest call, which ranks students; None: not measured
    latency_median_ms: float | None = None  # of the calmest of several visits
    latency_p90_ms: float | None = None  # likewise; a limit holds for it
    memory_bytes: int | None = None  # that a process of its own grew by for it; None: not measured
    reference_ms: float | None = None  # of a fixed product of matrices there and then
    device: str | None = None  # what the latency was measured on, threads and runtime
    contended: bool = False  # the machine was busy while the latency was measured
    pressure: float | None = None  # how busy: percent of 10 s in which some task waited for a CPU

    def known(self, name: str) -> float | None:
        """What a limit on this cost is held against: of latency the upper end, so that nine calls of ten keep it."""
        value: float | None = getattr(self, name)
        return self.latency_p90_ms or value if name == "latency_ms" else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that a student may cost; None: no limit."""

    macs: float | None = None
    params: float | None = None
    latency_ms: float | None = None
    size_bytes: float | None = None
    activation_bytes: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        return {name: limit for name in COSTS if (limit := getattr(self, name)) is not None}

    def excess(self, cost: Cost) -> dict[str, float]:
        """``log(cost / limit)`` for every limit, in one order; > 0 is over budget.

        Logarithms make limits of different units comparable, since samplers add violations up.
        A cost that was not measured counts as 0: not known to be over.
        """
        excess = {}
        for name, limit in self.limits.items():
            value = cost.known(name)
            excess[name] = math.log(max(value, 1e-9) / limit) if value is not None else 0.0
        return excess

    def admits(self, cost: Cost) -> bool:
        return all(value <= 0 for value in self.excess(cost).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch of one stage."""

    stage: str
    epoch: int  # counted from 1 within the stage
    train_loss: float
    val_loss: float
    val_accuracy: float  # 0..1
    learning_rate: float
    seconds: float
    at_once: int | None = None  # images that memory held, of a larger batch; None: whole batches


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPolicy:
    """What an audit judges, and when it says no. Rates and margins are shares, 0..1."""

    margin: float = 0.05  # a group may lose less than this against its teacher
    warn_margin: float = 0.02
    floor: float | None = None  # the least accuracy of the worst group; None: no floor
    recall_ratio: float = 0.8  # of a class between its worst and its best group
    calibration_margin: float = 0.05  # of the growth of a group's calibration error
    missing_share: float = 0.05  # of rows without a value, above which coverage warns
    unjudged_share: float = 0.10  # of rows in groups too small to judge, likewise
    min_group_n: int = 30  # images of a group that is judged
    min_rate_denominator: int = 10  # and of a rate's denominator
    ece_bins: int = 15
    intersections: int = 2  # attributes crossed at most; 1: none
    required: tuple[
        str, ...
    ] = ()  # groups that must be decided: "site=C"; "site" for all of its groups
    accept_teacher_bias: str | None = (
        None  # why a teacher that fails its audit is used all the same
    )
    resamples: int = 2000  # of bootstraps and permutations each
    seed: int = 0


AUDIT_STATES = ("pass", "warn", "undecided", "fail")  # not_judged beside them, for single groups


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFigures:
    """The few figures of an audit that searches and tables use. None: undefined."""

    status: str  # one of AUDIT_STATES
    sentence: str  # who lost what, in words
    worst_group: str | None  # "site=C": the judged group with the lowest accuracy
    worst_group_accuracy: float | None
    worst_label_group_accuracy: float | None  # the lowest recall of a class in a group
    accuracy_gap: float | None  # best minus worst judged group, the largest over attributes
    gap_growth: float | None  # student's gap minus teacher's; > 0: compression widened it
    worst_change_group: str | None
    worst_change: float | None  # the most negative accuracy change against the teacher
    undecided: int  # groups with too few images to tell whether they were harmed


STATES = ("complete", "rejected", "stopped", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantInfo:
    """What stood between the teacher and a student. Trained once for all trials that share it."""

    student: str  # as StudentSpec.describe says it
    cost: Cost  # without latency: it is never deployed
    val_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What became of one candidate."""

    number: int  # counted from 0 within the search
    seed: int
    candidate: Candidate
    state: str  # one of STATES; stopped: paused, and not gone on with yet
    cost: Cost | None  # None: the student could not be built or measured
    # Budget.excess of its cost, gap_growth where that has a limit, memory where training ran out of it
    excess: Mapping[str, float]
    val: Mapping[str, float] = field(
        default_factory=dict
    )  # accuracy, loss; of the epoch best on val
    history: tuple[Epoch, ...] = ()
    audit: AuditFigures | None = None  # on val, against the teacher; None: not trained to the end
    assistants: tuple[AssistantInfo, ...] = ()  # of a trial that was trained to its end
    control: str | None = None  # why it was put in by hand: "no distillation, small student"
    reason: str | None = None  # why it was rejected, stopped or failed; one line
    seconds: float = 0.0
    spent: Mapping[str, float] = field(default_factory=dict)  # of these, by activity
    threads: int = 1  # CPU threads it was trained with; sums in floating point depend on it
    folder: str | None = None  # where weights, candidate.yaml and the audit's report are

    @property
    def name(self) -> str:
        """Of its run."""
        return f"trial-{self.number:04d}"

    @property
    def before_pruning(self) -> bool:
        """Whether its accuracy is the whole student's and its cost that of what is to be left: two different networks."""
        if not self.history:
            return False
        return self.candidate.stage(self.history[-1].stage).student != self.candidate.student

    @property
    def own_accuracy(self) -> float | None:
        """On val, of the network that its cost is of; None: there is none yet."""
        return None if self.before_pruning else self.val.get("accuracy")

    @property
    def feasible(self) -> bool:
        """Within the budget and every other limit, as far as is known."""
        return all(value <= 0 for value in self.excess.values())

    def objective(self, name: str) -> float:
        """Accuracy, 0..1, or cost, as people see it. Only of a result that has been trained."""
        if name == "val_accuracy":
            return self.val["accuracy"]
        if name == "worst_group_accuracy":  # a search refuses to start where no group can be judged
            accuracy = self.audit.worst_group_accuracy if self.audit else None
            assert accuracy is not None
            return accuracy
        return float(getattr(self.cost, name))

    def to_dict(self) -> dict[str, Any]:
        record: dict[str, Any] = _plain(asdict(self))
        return record

    @classmethod
    def from_dict(
        cls, record: Mapping[str, Any], *, candidate: Candidate | None = None
    ) -> TrialResult:
        """`candidate` is given where the record is without."""
        fields = dict(record) | {
            "candidate": candidate or Candidate.from_dict(record["candidate"]),
            "cost": None if record["cost"] is None else Cost(**record["cost"]),
            "history": tuple(Epoch(**epoch) for epoch in record["history"]),
            "audit": AuditFigures(**audit) if (audit := record.get("audit")) else None,
            "assistants": tuple(
                AssistantInfo(**each | {"cost": Cost(**each["cost"])})
                for each in record.get("assistants", ())
            ),
        }
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherInfo:
    """The teacher of a search, measured with the same instruments as its students."""

    name: str
    hash: str
    cost: Cost
    val_accuracy: float
    source: str  # "trained here", or the checkpoint's path, or "pretrained: <tag>"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInfo:
    """What a data set is, for records and reports."""

    name: str
    source: str
    hash: str
    class_names: tuple[str, ...]
    channels: int
    image_size: int
    train_count: int
    val_count: int
    test_count: int
    unlabelled_count: int = 0  # images that teachers alone say something about


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchInfo:
    """What a whole search is: written once, before its first trial."""

    study: str  # its name, unique in a store
    config: str  # the search file as it was understood, YAML
    fingerprint: str  # of all that must not change when a search goes on
    seed: int
    objectives: tuple[str, ...]  # val_accuracy, then worst_group_accuracy or costs
    budget: Budget
    data: DataInfo
    teacher: TeacherInfo

    def to_dict(self) -> dict[str, Any]:
        record: dict[str, Any] = _plain(asdict(self))
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> SearchInfo:
        data, teacher = record["data"], record["teacher"]
        fields = dict(record) | {
            "objectives": tuple(record["objectives"]),
            "budget": Budget(**record["budget"]),
            "data": DataInfo(**data | {"class_names": tuple(data["class_names"])}),
            "teacher": TeacherInfo(**teacher | {"cost": Cost(**teacher["cost"])}),
        }
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What test, or a further labelled set, says of a finished student. Asked once."""

    accuracy: float
    loss: float
    audit: AuditFigures
    report: str  # the folder of the audit's report
    teacher_accuracy: float | None = None  # of the search's teacher on the same images
    images: int | None = None
    data_hash: str | None = None  # of a further set: what was asked then

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Verdict:
        return cls(**dict(record) | {"audit": AuditFigures(**record["audit"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Remeasured:
    """What a student comes to when it is trained from further seeds. None of them was chosen by its accuracy, so this is
    what to expect of the next one; the accuracy that a search chose by is flattered by the choice."""

    seeds: int  # trainings, without the one that was chosen
    val_mean: float
    val_std: float | None  # of the sample; None: there is but one
    test_mean: float | None  # None: only members of the front are tested
    test_std: float | None
    shrink: float  # the val accuracy that was chosen minus val_mean


REMEASURED = tuple(field.name for field in fields(Remeasured))  # in this order in tables


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontMember:
    """A finished student that no other beats on every objective."""

    number: int  # the trial's
    rank: int  # counted from 1, most accurate on val first
    verdict: Verdict | None  # None: not tested, as the search is to go on
    again: Remeasured | None = None  # None: not trained from further seeds
    also: Mapping[str, Verdict] = field(default_factory=dict)  # of each set of data.also_test


# Of each further set in tables, behind all other columns: also_test.NAME.accuracy
ALSO_COLUMNS = ("accuracy", "teacher_accuracy", "worst_group_accuracy", "audit")


def also_column(name: str, key: str) -> str:
    return f"also_test.{name}.{key}"


def also_metric(name: str, key: str) -> str:
    """The name that the figure has among MLflow's metrics."""
    return f"also_test.{name}/{key}"


def also_tag(name: str, key: str) -> str:
    """The name that what is said of the set has among MLflow's tags."""
    return f"autokd.also_test.{name}.{key}"


def further_sets(members: Iterable[FrontMember]) -> list[str]:
    """The sets of data.also_test that some member was tested on, in the search file's order."""
    return list(dict.fromkeys(name for member in members for name in member.also))


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a search is to be found in MLflow's interface. All but the first stand behind the first."""

    address: str  # ends with a slash
    view: str  # the chart page of its complete trials
    run: str  # its own page
    report: str  # the folder of its report's files, to be followed by a name
    trials: Mapping[int, str]  # the runs of its trials, by number


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a finished search tells people."""

    note: str  # Markdown: the description of its own run
    files: Mapping[str, str]  # name -> text
    shortfall: str = ""  # Markdown: why no student is good enough, and what to try; empty: one is


def content_hash(record: Any) -> str:
    """16 hex digits of the SHA-256 of a record's canonical JSON."""
    text = json.dumps(_plain(record), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _in_use(record: dict[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Without what has the value that stands for its absence."""
    return {k: v for k, v in record.items() if k not in added or v != added[k]}


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value


def _stage_from_dict(record: Mapping[str, Any]) -> Stage:
    student = dict(record["student"])
    arguments = student.get("arguments", {}).items()
    student["arguments"] = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments}
    for key in ("mean", "std"):
        if student.get(key) is not None:
            student[key] = tuple(student[key])
    fields = dict(record) | {
        "student": StudentSpec(**student),
        "teachers": tuple(record["teachers"]),
        "training": Training(**record["training"]),
    }
    return Stage(**fields)


def _flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat |= (
            _flatten(value, f"{prefix}{key}.")
            if isinstance(value, Mapping)
            else {prefix + key: value}
        )
    return flat


def _unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, key = path.split(".")
        node = record
        for parent in parents:
            node = node.setdefault(parent, {})
        node[key] = value
    return record


def _to_text(value: Any) -> str:
    """Words stay bare unless they would be read back as something else."""
    if isinstance(value, str) and _from_text(value) == value:
        return value
    return json.dumps(value)


def _from_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
