"""Load a shipped model, prove its robustness, attack it, and show that the proof holds."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import zoo  # noqa: E402

OUT = pathlib.Path("demo")


def main():
    model = zoo.load("linf-dist-digits")
    test = zoo.data.load("digits", "test")
    report = model.evaluate_robustness(
        test.images,
        test.labels,
        eps=[0.02, 0.05, 0.1, 0.15, 0.2],
        attacks=("fgsm", "pgd", "auto"),
        spare_certified=["auto"],
        verbose=1,
    )
    OUT.mkdir(exist_ok=True)
    report.plot().figure.savefig(OUT / "certified_accuracy.png", dpi=150)
    (OUT / "report.json").write_text(report.to_json() + "\n", encoding="utf-8")
    print(f"linf-dist-digits on {test.name}")
    print(report)
    print("No attack gets below the certified column: that is what the certificate proves.")
    print(f"plot: {OUT / 'certified_accuracy.png'}")
    print(f"numbers: {OUT / 'report.json'}")


if __name__ == "__main__":
    main()
