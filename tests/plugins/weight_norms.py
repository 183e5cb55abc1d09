"""The probe ``weights``: the 2-norm of every layer's weight."""

from bnexp.probes import LayerSchedule, Probe, Rows, Step
from bnexp.registry import PROBES


@PROBES.register("weights", LayerSchedule)
class WeightNorms(Probe):
    """Table ``weights``: ||W_i||_2 at theta_t."""

    tables = {"weights": {"step": "training step t", "layer": "layer i", "norm": "||W_i||_2"}}

    def before_update(self, step: Step) -> Rows:
        model = self.setting.model
        numbers = self.options.numbers(model)
        norms = [float(step.params[model.weight_name(i)].detach().norm()) for i in numbers]
        count = len(numbers)
        return {"weights": {"step": [step.number] * count, "layer": numbers, "norm": norms}}
