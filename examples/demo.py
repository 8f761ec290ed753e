"""Certify a shipped model, attack it, and show that the proof holds: ``make demo``."""

import pathlib

import numpy as np

import zoo
from zoo.utils.table import floor_text

OUT = pathlib.Path("demo")
NAME = "linf-dist-digits"


def main():
    print(f"Loading {NAME}, a classifier of 8 x 8 images of handwritten digits.")
    model = zoo.load(NAME)
    zoo.ops.use_float32_products()
    test = zoo.data.load("digits", "test")

    print("\nOne image:")
    one = model.certify(test.images[:1], nearest=True)
    answer, radius, nearest = one.prediction[0], one.radius[0], one.nearest[0]
    print(f"  The model answers {answer}, and the right answer is {test.labels[0]}.")
    print(f"  Certified: it answers {answer} for every image whose pixels differ by less than")
    print(f"  {floor_text(radius, 4)} each (pixels lie in [0, 1]).")
    inside = model.attack(test.images[:1], test.labels[:1], "auto", eps=0.999 * radius)
    print(f"  The strongest attack within that radius: it answers {answer_to(model, inside)}.")
    print(f"  The nearest image with another answer that an attack found differs by {nearest:.4f}.")

    print(f"\nAll {len(test)} test images, with three attacks at three budgets:")
    report = model.evaluate_robustness(
        test.images,
        test.labels,
        eps=[0.05, 0.1, 0.2],
        attacks=("fgsm", "pgd", "apgd-t"),
        spare_certified=["apgd-t"],
        verbose=1,
    )
    print(report)
    print("No attack gets below the certified column: that is what the certificate proves.")

    OUT.mkdir(exist_ok=True)
    report.plot().figure.savefig(OUT / "certified_accuracy.png", dpi=150)
    (OUT / "report.json").write_text(report.to_json() + "\n", encoding="utf-8")
    print(f"\nplot: {OUT / 'certified_accuracy.png'}\nnumbers: {OUT / 'report.json'}")


def answer_to(model, x):
    return int(np.argmax(model.logits(x), axis=1)[0])


if __name__ == "__main__":
    main()
