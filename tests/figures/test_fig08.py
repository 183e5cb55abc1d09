"""Fig 8: shift of the moments of one fixed unit, between recorded points and since the first."""

import numpy as np
from looking import line, panels, run_of
from synthetic_runs import make_run, runs_in

from bnexp.runs import TableWriter


def of_unit(run, layer):
    activations = run.table("activations")
    unit = activations[activations["layer"] == layer]["unit"].iloc[0]
    moments = run.table("moments")
    return moments[(moments["layer"] == layer) & (moments["unit"] == unit)]


def test_twelve_panels_follow_the_unit_of_the_activations_table(draw, runs):
    axes = panels(draw("8"))
    assert len(axes) == 12
    for norm in ("none", "bn", "noisy_bn"):
        run = run_of(runs, "vgg", norm, 0.1)
        for layer in (2, 9, 13):
            rows = of_unit(run, layer)
            for column in ("mean", "var"):
                values = rows[column].to_numpy()
                for name, expected in (
                    (f"a:abs_{column}_step_change", np.abs(values[1:] - values[:-1])),
                    (f"b:{column}_minus_initial", values[1:] - values[0]),
                ):
                    panel = axes[f"{name}:layer{layer}"][0]
                    assert panel.get_yscale() == "linear"
                    x, y = line(panel, f"line:{norm}:0.1")
                    np.testing.assert_array_equal(x, rows["step"].to_numpy()[1:])
                    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_rows_between_scheduled_steps_do_not_count(draw, root):
    path = make_run(root, "vgg", "bn", 0.1, tables=["activations"])
    writer = TableWriter(path / "tables")
    unit = 2 % 4
    for step in range(0, 41):
        if step % 2 == 0 or (step - 1) % 2 == 0:
            mean = float(step // 2) if step % 2 == 0 else 99.0
            writer.add("moments", {"step": step, "layer": 2, "unit": unit, "mean": mean, "var": 1})
    writer.flush()
    axes = panels(draw("8", of=runs_in(root)))["a:abs_mean_step_change:layer2"][0]
    x, y = line(axes, "line:bn:0.1")
    np.testing.assert_array_equal(x, range(2, 41, 2))
    np.testing.assert_array_equal(y, 1.0)
