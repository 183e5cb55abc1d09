"""Figs 6 and 9: ridgelines of the five normalisations, and of the DLN."""

from looking import artists, panels


def test_fig_6_shows_layer_11_of_five_nets_on_one_x_range(draw):
    axes = panels(draw("6"))
    assert set(axes) == {
        f":activations:layer11:{norm}" for norm in ("none", "bn", "l1", "l2", "linf")
    }
    assert len({found[0].get_xlim() for found in axes.values()}) == 1
    assert all(artists(found[0], "ridge:") for found in axes.values())


def test_fig_9_shows_layers_1_11_24_without_and_with_bn(draw):
    axes = panels(draw("9"))
    assert len(axes) == 6
    for layer in (1, 11, 24):
        pair = [axes[f":activations:layer{layer}:{norm}"][0] for norm in ("none", "bn")]
        assert pair[0].get_xlim() == pair[1].get_xlim()
        assert all(artists(ax, "ridge:") for ax in pair)


def test_steps_are_on_the_y_axis(draw):
    ax = panels(draw("9"))[":activations:layer1:none"][0]
    lowest = min(artists(ax, "ridge:"), key=lambda r: int(r.get_gid().split(":")[1]))
    assert lowest.get_gid() == "ridge:0"
    assert set(ax.get_yticks()) <= set(range(61))
    assert len(ax.get_yticks()) >= 3
