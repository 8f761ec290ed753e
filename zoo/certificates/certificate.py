"""The results of ``certify``."""

import dataclasses
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo.epsilon import Epsilon, budgets_of, required_budgets
from zoo.errors import SoundnessError
from zoo.typing import Array, ArrayLike, Budget, Path
from zoo.utils import checks
from zoo.utils.axes import axes_or_new, finish
from zoo.utils.norms import SYMBOLS
from zoo.utils.paths import expanded
from zoo.utils.table import Column, Table, floor_text, percent, yes_or_no
from zoo.utils.whole_file import whole_file

# What NumPy and Python raise for a file that is damaged, or is another one.
_DAMAGED = (AttributeError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
# The fields with an entry for each image.
_PER_IMAGE = ("prediction", "radius", "margin", "nearest", "labels", "per_class", "finished")
# Images that a notebook shows.
_SHOWN = 10


@dataclasses.dataclass(frozen=True, eq=False)
class CertifiedBatch:
    """The result of :meth:`zoo.models.CertifiedModel.certified_radius` for one batch.

    Attributes:
        logits: float32 array ``(n, classes)``.
        radius: float32 array ``(n,)``, rounded down, in units of the [0, 1] image.
        nearest: float array ``(n,)`` or None, as in :class:`Certificate`.
        per_class: float32 array ``(n, classes)`` or None, as in :class:`Certificate`.
        finished: bool array ``(n,)``: False where the time of
            :func:`zoo.utils.deadline.time_limit` was up before the radius was as large as the
            method proves. None if all are finished.
    """

    logits: Array
    radius: Array
    nearest: Array | None = None
    per_class: Array | None = None
    finished: Array | None = None

    @property
    def done(self) -> Array:
        """Whether each image was finished: a bool array. All were if ``finished`` is None."""
        return np.ones(len(self.radius), bool) if self.finished is None else self.finished


@dataclasses.dataclass(frozen=True, eq=False)
class Certificate:
    """A proof, per image, of how far an attacker must go to change the prediction.

    Every image in [0, 1] at a distance below ``radius[i]`` from image ``i`` is classified as
    ``prediction[i]``. (If :func:`zoo.certify` was given another ``valid_range``, that range takes
    the place of [0, 1], and radii and budgets are in its units.) This says nothing about whether
    the prediction is right. It holds for the model as float32 computes it by sums of products in
    any order, but not for convolutions by Winograd's or Fourier's transform, which a GPU's library
    may choose.

    Attributes:
        prediction: int64 array ``(n,)``, predicted classes.
        radius: float32 array ``(n,)``, in units of the [0, 1] image, rounded down; 0 if nothing is
            proved.
        margin: float32 array ``(n,)``, logit of the prediction minus the next largest.
        norm: norm of the perturbation, ``"linf"`` or ``"l2"``.
        method: how the radius was found, for example ``"interval"``.
        num_classes: number of classes the model knows.
        nearest: float32 array ``(n,)`` or None. With ``certify(…, nearest=True)``: the distance of
            the nearest known image in [0, 1] that the model classifies otherwise. Without it, the
            curvature methods alone fill it: the distance of a point of another class that their
            search met, which may lie outside [0, 1]. ``inf`` where no such point is known.
        labels: array of the images' labels as the data set gave them that was certified; None if
            the images came without labels.
        decided_at: the budgets of ``certify(…, eps=…)``, as texts. Such a certificate tells whether
            each image is certified at these budgets, and tells nothing about others: ``radius`` is
            the smallest float32 above the largest budget at which the image is certified, or 0 if
            there is none. None if ``radius`` is as large as the method proves.
        per_class: float32 array ``(n, classes)``, rounded down: every image in [0, 1] at a distance
            below ``per_class[i, j]`` from image ``i`` is classified other than ``j``. It is ``inf``
            for the predicted class, of which nothing is said, and ``radius`` is the minimum of each
            row. None if the method finds no such radii, or only on request: see
            :meth:`zoo.models.CertifiedModel.certify`.
        finished: of ``certify(…, timeout=…)``: bool array ``(n,)``, False where the time was up
            before the radius was as large as the method proves. Such a radius is proved all the
            same, and 0 if nothing was. None if no timeout was given.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates import Certificate
        >>> cert = Certificate(np.array([3, 1]), np.array([0.2, 0.05], "float32"),
        ...                    np.array([0.4, 0.1], "float32"), "linf", "lipschitz", 10)
        >>> cert.certified(0.1).tolist(), cert.accuracy([3, 1], eps=0.1)
        ([True, False], 0.5)

        A certificate can be cut and joined like an array of images:

        >>> len(cert[cert.certified(0.1)]), len(Certificate.concatenate([cert, cert[:1]]))
        (1, 3)
    """

    prediction: Array
    radius: Array
    margin: Array
    norm: str
    method: str
    num_classes: int
    nearest: Array | None = None
    labels: Array | None = None
    decided_at: tuple[str, ...] | None = None
    per_class: Array | None = None
    finished: Array | None = None

    def __len__(self) -> int:
        return len(self.prediction)

    def __getitem__(self, index: Any) -> "Certificate":
        """The certificate of a part of the images.

        Args:
            index: as NumPy takes it for one axis: an integer, which gives a certificate of one
                image, a slice, a bool array ``(n,)`` or an array of integers.

        Returns:
            :class:`Certificate`.

        Raises:
            IndexError: if there is no such image, or the index is of another type.
        """
        places = np.arange(len(self))[index]
        if places.ndim > 1:
            raise IndexError(
                f"a certificate has one axis, the images; the index would give {places.ndim}"
            )
        chosen = {name: array[np.atleast_1d(places)] for name, array in self._arrays().items()}
        return dataclasses.replace(self, **chosen)

    @staticmethod
    def concatenate(certificates: "Sequence[Certificate]") -> "Certificate":
        """Join certificates of several parts of a set into one.

        Args:
            certificates: list of at least one :class:`Certificate`, all with the same norm, method,
                number of classes and ``decided_at``, and all or none with ``nearest``, with
                ``labels``, with ``per_class`` and with ``finished``.

        Returns:
            :class:`Certificate` of all images, in this order.

        Raises:
            TypeError, ValueError: naming what is wrong, or differs.
        """
        parts = list(certificates)
        for part in parts:
            if not isinstance(part, Certificate):
                raise TypeError(f"expected certificates, got {type(part).__name__}")
        if not parts:
            raise ValueError("there is no certificate to concatenate")
        for name in ("norm", "method", "num_classes", "decided_at"):
            values = list(dict.fromkeys(getattr(part, name) for part in parts))
            if len(values) > 1:
                raise ValueError(
                    f"certificates of one {name} can be concatenated, got {values[0]!r} and "
                    f"{values[1]!r}"
                )
        # The certificate of no images has only the arrays that do not depend on the method.
        parts = [part for part in parts if len(part)] or parts[:1]
        for name in ("nearest", "labels", "per_class", "finished"):
            if len({getattr(part, name) is None for part in parts}) > 1:
                raise ValueError(f"some of the certificates have {name}, and others have not")
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in parts[0]._arrays()
        }
        return dataclasses.replace(parts[0], **joined)

    def _arrays(self) -> dict[str, Array]:
        found = {name: getattr(self, name) for name in _PER_IMAGE}
        return {name: array for name, array in found.items() if array is not None}

    def __repr__(self) -> str:
        median = floor_text(float(np.median(self.radius)), 4) if len(self) else "-"
        what = f"median radius {median}"
        if self.decided_at is not None:
            what = f"decided at {', '.join(self.decided_at)}"
        return f"Certificate(n={len(self)}, {self.norm}, {self.method}, {what})"

    def certified(self, eps: Budget) -> Array:
        """Whether the prediction provably holds for every image in [0, 1] within ``eps``.

        Args:
            eps: budget in units of the [0, 1] image: a number, or a string such as ``"8/255"``.

        Returns:
            bool array ``(n,)``.

        Raises:
            ValueError: if the certificate was decided at other budgets.
        """
        eps = Epsilon(eps)
        if self.decided_at is not None and eps not in map(Epsilon, self.decided_at):
            raise ValueError(
                f"this certificate was decided at eps {', '.join(self.decided_at)} and tells "
                f"nothing about {eps}; certify with this eps, or without eps for radii"
            )
        # No float32 lies between the budget and the largest one that is not above it, so this
        # compares the radius with the exact budget.
        return self.radius > np.float32(eps.below)

    def never(self, classes: ArrayLike, eps: Budget) -> Array:
        """Whether no image in [0, 1] within ``eps`` is classified as one of some classes.

        Args:
            classes: the number of a class, or a list of them.
            eps: budget, as for :meth:`certified`.

        Returns:
            bool array ``(n,)``; False for an image that is predicted as one of them itself.

        Raises:
            ValueError: if the certificate has no ``per_class``, or there is no such class.

        Examples:
            >>> import numpy as np
            >>> from zoo.certificates import Certificate
            >>> cert = Certificate(np.array([0]), np.array([0.1], "float32"),
            ...                    np.array([0.2], "float32"), "l2", "pairwise", 3,
            ...                    per_class=np.array([[np.inf, 0.1, 0.4]], "float32"))
            >>> cert.never(2, 0.3).tolist(), cert.never([1, 2], 0.3).tolist()
            ([True], [False])
        """
        chosen = groups_of([np.atleast_1d(np.asarray(classes)).tolist()], self.num_classes) == 0
        return np.logical_not(np.any(self.possible(eps)[:, chosen], axis=1))

    def possible(self, eps: Budget) -> Array:
        """Which classes an image may become within ``eps``, as far as the certificate can tell.

        Args:
            eps: budget, as for :meth:`certified`.

        Returns:
            bool array ``(n, classes)``: False where it is proved that no image in [0, 1] within the
            budget has this class. The predicted class is possible.

        Raises:
            ValueError: if the certificate has no ``per_class``.
        """
        possible = self._required_per_class() <= np.float32(Epsilon(eps).below)
        possible[np.arange(len(self)), self.prediction] = True
        return possible

    def accuracy(
        self,
        y: ArrayLike | None = None,
        eps: Budget | None = None,
        *,
        groups: Mapping[Any, Sequence[int]] | Sequence[Sequence[int]] | None = None,
    ) -> float:
        """Fraction of images both classified as ``y`` and certified at ``eps``.

        It is a lower bound of the accuracy under any attack with that budget.

        Args:
            y: labels ``(n,)`` or ``(n, 1)``, or one-hot rows; None for the certificate's own.
            eps: budget, as for :meth:`certified`; it must be given.
            groups: groups of classes, as lists of numbers or a dictionary of them: then an image
                counts if it is certified never to leave the group of its label. It may change its
                class within the group. A class in none of them is a group of its own.

        Returns:
            Number in [0, 1]; NaN for no images.

        Raises:
            ValueError: if ``eps`` or the labels are missing, or the certificate was decided at
                other budgets; for groups, if the certificate has no ``per_class``, or a class is in
                two groups or does not exist.
        """
        y = self._labels(y)
        if eps is None:
            raise ValueError("eps must be given, a number or a string like '8/255'")
        if groups is None:
            right = (self.prediction == y) & self.certified(eps)
        else:
            group = groups_of(groups, self.num_classes)
            right = ~(self.possible(eps) & (group[None] != group[y][:, None])).any(axis=1)
        return float(np.mean(right)) if len(self) else float("nan")

    def abstain(self, eps: Budget) -> Array:
        """Where to give no answer: where the prediction is not certified at ``eps``.

        An answer that is given is the same for every image in [0, 1] within the budget. Such an
        image may have a smaller radius itself, so that no answer is given for it.

        Args:
            eps: budget, as for :meth:`certified`: what the changes that are expected, such as the
                noise of a camera, can amount to.

        Returns:
            bool array ``(n,)``, True where to abstain.
        """
        return ~self.certified(eps)

    def coverage_curve(self, y: ArrayLike | None = None) -> tuple[Array, Array, Array]:
        """Coverage and accuracy of a classifier that abstains, as functions of the budget.

        Args:
            y: labels, as for :meth:`accuracy`.

        Returns:
            ``(eps, coverage, accuracy)``: float arrays. At each budget, ``coverage`` is the share
            of the images that are answered, where :meth:`abstain` is False, and ``accuracy`` the
            share of right answers among them, all of which are certified at this budget. ``eps``
            holds 0 and then the budgets at which they change, as long as anything is answered.

        Raises:
            ValueError: if the certificate was decided at some budgets only.

        Examples:
            >>> import numpy as np
            >>> from zoo.certificates import Certificate
            >>> cert = Certificate(np.array([3, 1]), np.array([0.2, 0.1], "float32"),
            ...                    np.array([0.4, 0.2], "float32"), "linf", "lipschitz", 10)
            >>> eps, coverage, accuracy = cert.coverage_curve([3, 3])
            >>> eps.round(2).tolist(), coverage.tolist(), accuracy.tolist()
            ([0.0, 0.1], [1.0, 0.5], [0.5, 1.0])
        """
        self._require_radii()
        right = self.prediction == self._labels(y)
        radius = self.radius.astype(np.float64)
        # The answers at a budget are those with a larger radius.
        eps = np.unique(np.concatenate([[0.0], radius]))
        answered = [np.sort(part) for part in (radius, radius[right])]
        total, correct = (len(r) - np.searchsorted(r, eps, side="right") for r in answered)
        some = total > 0
        return eps[some], total[some] / max(1, len(self)), correct[some] / total[some]

    def plot_coverage(self, y: ArrayLike | None = None, ax: Any = None) -> Any:
        """Draw the accuracy of the answers of :meth:`abstain` over the share of answered images.

        Args:
            y: labels, as for :meth:`accuracy`.
            ax: as for :meth:`plot`.

        Returns:
            The axes.
        """
        ax = axes_or_new(ax)
        _, coverage, accuracy = self.coverage_curve(y)
        ax.plot(100 * coverage, 100 * accuracy, label=self.method)
        ax.set_xlim(0, 101)
        ax.set_ylim(0, 101)
        ax.set_xlabel(f"coverage: answered, % of {len(self)} images")
        ax.set_ylabel("certified accuracy, % of the answered images")
        ax.set_title(f"Coverage ({SYMBOLS[self.norm]}, {self.method}), n = {len(self)}")
        ax.grid(alpha=0.3)
        ax.legend()
        return ax

    def _required_per_class(self) -> Array:
        if self.per_class is None:
            raise ValueError(
                f"this certificate ({self.norm}, {self.method}) has no radius for each class; "
                "certify with per_class=True, or see zoo.Certificate.per_class"
            )
        return self.per_class

    def with_nearest(self, distances: ArrayLike, *, first: int = 0) -> "Certificate":
        """The certificate with the distances of images that are classified otherwise.

        Args:
            distances: float array ``(n,)``; ``inf`` where none is known.
            first: index of the first image in the whole set, if these images are a part of one.

        Returns:
            :class:`Certificate`.

        Raises:
            zoo.SoundnessError: if a distance is below its radius, naming the image's index.
        """
        distances = np.asarray(distances, np.float64)
        broken = np.flatnonzero(distances < self.radius)
        if len(broken):
            index = int(broken[0])
            raise SoundnessError(
                f"the certificate is wrong: an image at {self.norm} distance "
                f"{distances[index]:.6g} from image {first + index} has another class, within the "
                f"certified radius of {self.radius[index]:.6g} ({len(broken)} images in all). This "
                "is a bug in zoo; please report it"
            )
        # Rounded up, as an upper bound.
        nearest = distances.astype(np.float32)
        nearest = np.where(nearest < distances, np.nextafter(nearest, np.float32(np.inf)), nearest)
        return dataclasses.replace(self, nearest=nearest)

    @property
    def exact(self) -> Array | None:
        """Whether ``nearest`` is at most 1 % above ``radius``.

        ``radius`` is a lower and ``nearest`` an upper bound of the distance to another class. Where
        they meet in this way, no certificate that also covers inputs outside of [0, 1] could have a
        radius more than 1 % larger. A bool array ``(n,)``, or None if there is no ``nearest``.
        """
        if self.nearest is None:
            return None
        return (self.radius > 0) & (self.nearest <= 1.01 * self.radius)

    def curve(self, y: ArrayLike | None = None) -> tuple[Array, Array]:
        """Certified accuracy as a function of the budget.

        Args:
            y: labels, as for :meth:`accuracy`.

        Returns:
            ``(eps, accuracy)``: float arrays. The accuracy is a right-continuous step function;
            ``eps`` holds 0 and then the budgets at which it changes.

        Raises:
            ValueError: if the certificate was decided at some budgets only.
        """
        self._require_radii()
        y = self._labels(y)
        radii = np.sort(self.radius[(self.prediction == y) & (self.radius > 0)].astype(np.float64))
        eps = np.unique(np.concatenate([[0.0], radii]))
        above = len(radii) - np.searchsorted(radii, eps, side="right")
        return eps, above / max(1, len(self))

    def _require_radii(self) -> None:
        if self.decided_at is not None:
            raise ValueError(
                "a curve needs radii, and this certificate was decided at eps "
                f"{', '.join(self.decided_at)} only; certify without eps"
            )

    def _labels(self, y: ArrayLike | None) -> Array:
        y = self.labels if y is None else y
        if y is None:
            raise ValueError("y must be given, because the certified images had no labels")
        return checks.labels(y, len(self), self.num_classes)

    def to_dict(self) -> dict[str, Any]:
        """The certificate as a dictionary of JSON's types.

        ``inf`` in ``nearest`` and ``per_class`` becomes None. ``decided_at`` and ``finished`` are
        left out if they are None.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("nearest", "per_class"):
            if fields[name] is not None:  # JSON has no infinity
                finite = np.isfinite(fields[name])
                fields[name] = np.where(finite, fields[name].astype(object), None)
        for name in ("decided_at", "finished"):
            if fields[name] is None:
                del fields[name]
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in fields.items()}

    def save(self, path: Path) -> None:
        """Write the certificate to exactly this path, as an ``.npz`` file without pickled data.

        The file is written completely or not at all.

        Args:
            path: path of the file. An existing file is replaced.

        Raises:
            OSError: naming the path and the reason.

        Examples:
            >>> import numpy as np, os, tempfile
            >>> from zoo.certificates import Certificate
            >>> cert = Certificate(np.array([3]), np.array([0.2], "float32"),
            ...                    np.array([0.4], "float32"), "linf", "lipschitz", 10)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     cert.save(os.path.join(folder, "certificate.npz"))
            ...     Certificate.load(os.path.join(folder, "certificate.npz"))
            Certificate(n=1, linf, lipschitz, median radius 0.2000)
        """
        with whole_file(path) as file:
            fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
            found: dict[str, Any] = {k: v for k, v in fields.items() if v is not None}
            np.savez_compressed(file, **found)

    @classmethod
    def load(cls, path: Path) -> "Certificate":
        """Read a file that :meth:`save` wrote.

        Args:
            path: path of the file.

        Returns:
            :class:`Certificate`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: naming the file, if it holds no such certificate.
        """
        path = expanded(path)
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}")
        try:
            with np.load(path, allow_pickle=False) as file:
                found = dict(file)
            certificate = cls(
                prediction=found["prediction"],
                radius=found["radius"],
                margin=found["margin"],
                norm=str(found["norm"]),
                method=str(found["method"]),
                num_classes=int(found["num_classes"]),
                nearest=found.get("nearest"),
                labels=found.get("labels"),
                decided_at=_texts(found.get("decided_at")),
                per_class=found.get("per_class"),
                finished=found.get("finished"),
            )
            certificate._require_whole()
        except KeyError as error:
            raise ValueError(f"{path} holds no certificate: it has no {error}") from error
        except _DAMAGED as error:
            raise ValueError(f"{path} holds no certificate: {error}") from error
        return certificate

    def _require_whole(self) -> None:
        """Raise a ValueError unless the fields are such as ``certify`` returns."""
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"norm must be 'linf' or 'l2', got {self.norm!r}")
        for name, array in self._arrays().items():
            if name == "labels":
                self._labels(None)
                continue
            kind = {"prediction": "i", "finished": "b"}.get(name, "f")
            shape = (len(self.prediction), *[self.num_classes] * (name == "per_class"))
            rounded = name not in ("radius", "per_class") or array.dtype == np.float32
            if array.shape != shape or array.dtype.kind != kind or not rounded:
                raise ValueError(f"{name} has shape {array.shape} and dtype {array.dtype}")
        if not (np.all(self.radius >= 0) and np.all(np.isfinite(self.radius))):
            raise ValueError("a radius is negative or not finite")
        checks.labels(self.prediction, len(self), self.num_classes, "prediction")
        if self.per_class is not None and not np.array_equal(
            self.per_class.min(axis=1, initial=np.inf), self.radius
        ):
            raise ValueError("radius is not the minimum of per_class")

    def table(
        self,
        y: ArrayLike | None = None,
        eps: Budget | Sequence[Budget] = (),
    ) -> Table:
        """A table with a row for each image.

        Args:
            y: integer labels ``(n,)``, or None for a table without them.
            eps: budget or list of budgets; each gives a column, whether the prediction is
                certified there.

        Returns:
            :class:`zoo.utils.table.Table`.
        """
        columns = [Column("image", np.arange(len(self)))]
        if y is not None:
            columns.append(Column("label", checks.labels(y, len(self), self.num_classes)))
        columns.append(Column("prediction", self.prediction))
        if self.decided_at is None:
            columns.append(Column("radius", self.radius, floor_text))
        columns.append(Column("margin", self.margin, "{:.6f}".format))
        if self.nearest is not None:
            columns.append(Column("nearest", self.nearest, "{:.6f}".format))
        if self.finished is not None:
            columns.append(Column("finished", self.finished, yes_or_no))
        for budget in budgets_of(eps):
            columns.append(Column(f"certified {budget}", self.certified(budget), yes_or_no))
        return Table(columns)

    def to_frame(
        self,
        y: ArrayLike | None = None,
        eps: Budget | Sequence[Budget] = (),
    ) -> Any:
        """The table of :meth:`table` as a ``pandas.DataFrame``; this needs pandas."""
        return self.table(y, eps).to_frame()

    def to_latex(
        self,
        y: ArrayLike | None = None,
        eps: Budget | Sequence[Budget] = (),
    ) -> str:
        r"""The table of :meth:`table` in LaTeX, which needs ``\usepackage{booktabs}``."""
        return self.table(y, eps).to_latex()

    def plot(self, y: ArrayLike | None = None, ax: Any = None) -> Any:
        """Draw the share of certified images over the budget.

        Args:
            y: integer labels ``(n,)``: then the curve is the certified accuracy, the share of
                images that are right, too.
            ax: :class:`matplotlib.axes.Axes` to draw into; None makes a new pyplot figure, which a
                notebook shows.

        Returns:
            The axes. ``certificate.plot().figure.savefig(path)`` writes an image file.

        Examples:
            >>> import numpy as np
            >>> from matplotlib.figure import Figure
            >>> from zoo.certificates import Certificate
            >>> cert = Certificate(np.array([3]), np.array([0.2], "float32"),
            ...                    np.array([0.4], "float32"), "linf", "lipschitz", 10)
            >>> cert.plot(ax=Figure().add_subplot()).get_title()
            'Certified predictions (ℓ∞, lipschitz), n = 1'
        """
        ax = axes_or_new(ax)
        eps, share = self.curve(self.prediction if y is None else y)
        what = "certified predictions" if y is None else "certified accuracy"
        ax.step(eps, 100 * share, where="post", label=self.method)
        return finish(
            ax,
            norm=self.norm,
            title=f"{what.capitalize()} ({SYMBOLS[self.norm]}, {self.method}), n = {len(self)}",
            what=f"{what}, % of {len(self)} images",
            reach=eps,
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the radii of the first images, or what was decided of them."""

        def share(proved: Array) -> str:
            return percent(float(np.mean(proved))) if len(self) else "-"

        median = floor_text(float(np.median(self.radius)), 4) if len(self) else "-"
        said = [f"median radius {median}", f"{share(self.radius > 0)} with a radius above 0"]
        if self.decided_at is not None:
            said = [f"{share(self.certified(eps))} certified at {eps}" for eps in self.decided_at]
        more = len(self) - _SHOWN
        return (
            f"<p><b>Certificate</b> of {len(self)} images: {SYMBOLS[self.norm]}, {self.method}, "
            f"{', '.join(said)}</p>"
            + self.table(eps=self.decided_at or ()).head(_SHOWN).to_html()
            + (f"<p>… and {more} more images</p>" if more > 0 else "")
        )


def budgets_to_decide(eps: Any, per_class: bool) -> list[Epsilon] | None:
    """The budgets at which a certificate is to decide; None if it is to have radii.

    Args:
        eps: a budget or a list of budgets, or None.
        per_class: whether radii against each class are asked for.

    Raises:
        TypeError, ValueError: naming what is wrong with them, or that they exclude each other.
    """
    if checks.true_or_false(per_class, "per_class") and eps is not None:
        raise ValueError("per_class=True asks for radii, which eps leaves out; give one of the two")
    return None if eps is None else required_budgets(eps)


def at_budgets(radius: ArrayLike, budgets: Sequence[Epsilon]) -> Array:
    """Round radii down so that they tell only which of some budgets are certified.

    Args:
        radius: float array ``(n,)``.
        budgets: list of :class:`zoo.epsilon.Epsilon`.

    Returns:
        float32 array ``(n,)``: the smallest float32 above the largest budget that is below the
        radius; 0 if there is no such budget.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates.certificate import at_budgets
        >>> from zoo.epsilon import Epsilon
        >>> at_budgets(np.array([0.6, 0.2], "float32"), [Epsilon(0.25), Epsilon(0.5)]).round(4)
        array([0.5, 0. ], dtype=float32)
    """
    steps = np.array([0.0, *sorted(budget.beyond for budget in budgets)], np.float32)
    return steps[np.searchsorted(steps, round_down(radius), side="right") - 1]


def _texts(array: Array | None) -> tuple[str, ...] | None:
    return None if array is None else tuple(str(Epsilon(str(text))) for text in array)


def per_class_of(radii: Array, radius: Array, classes: Array) -> Array:
    """Radii against each class in the form in which a certificate has them.

    Args:
        radii: float64 array ``(n, classes)``, proved, from which a class may be missing: its entry
            is then 0. The least in each row is at most ``radius``.
        radius: float32 array ``(n,)``, within which no other class is possible.
        classes: int array ``(n,)``, the predicted classes.

    Returns:
        float32 array ``(n, classes)`` with ``radius`` as its least entries.
    """
    found = np.maximum(round_down(radii), radius[:, None])
    found[np.arange(len(found)), classes] = np.inf
    return found


def groups_of(
    groups: Mapping[Any, Sequence[int]] | Sequence[Sequence[int]], num_classes: int
) -> Array:
    """The number of the group that each class is in; other classes are groups of their own.

    Args:
        groups: groups of classes, as lists of their numbers or a dictionary of such lists.
        num_classes: number of classes.

    Returns:
        int array ``(classes,)``, which counts the groups in their order from 0 on.

    Raises:
        TypeError, ValueError: naming what is wrong with the groups.

    Examples:
        >>> from zoo.certificates.certificate import groups_of
        >>> groups_of([[0, 2], [3]], 5).tolist()
        [0, 2, 0, 1, 3]
    """
    found = np.full(num_classes, -1)
    members = list(groups.values() if isinstance(groups, Mapping) else groups)
    for number, group in enumerate(members):
        if not isinstance(group, Iterable) or isinstance(group, str):
            raise TypeError(f"a group must be a list of the numbers of classes, got {group!r}")
        for label in group:
            if isinstance(label, bool) or not isinstance(label, (int, np.integer)):
                raise TypeError(f"a group must be a list of the numbers of classes, got {group!r}")
            if not 0 <= label < num_classes:
                raise ValueError(f"there is no class {label}; classes are 0 to {num_classes - 1}")
            if found[label] not in (-1, number):
                raise ValueError(f"class {label} is in two groups")
            found[label] = number
    alone = found < 0
    found[alone] = len(members) + np.arange(alone.sum())
    return found


def round_down(radius: ArrayLike) -> Array:
    """Round non-negative radii down to float32.

    Args:
        radius: float array of any shape, or a number.

    Returns:
        float32 array of the same shape: the largest float32 numbers that are not above the radii.
        NaN proves nothing and becomes 0.

    Examples:
        >>> from zoo.certificates.certificate import round_down
        >>> float(round_down(0.1)) <= 0.1
        True
    """
    radius = np.asarray(radius, np.float64)
    radius = np.where(np.isnan(radius), 0.0, radius)
    nearest = radius.astype(np.float32)
    lower = np.nextafter(nearest, np.float32(0))
    return np.where(nearest > radius, lower, nearest)
