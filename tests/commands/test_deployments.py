"""What deployments ask for, without a Prefect server; with one: test_prefect.py."""

from commands.deployments import campaign_form
from nightlab.records import CampaignSpec, LabConfig, StationConfig


def test_the_form_of_a_campaign_says_what_its_environment_asks_for() -> None:
    stations = (
        StationConfig(station="left", world="pin_insertion"),
        StationConfig(station="right", world="pin_insertion"),
    )
    spec = CampaignSpec.model_validate(
        campaign_form(LabConfig(environment="pin_insertion", stations=stations), 8.0)["spec"]
    )
    assert (spec.environment, spec.stations, spec.speed, spec.held_out_n) == ("pin_insertion", 2, 8.0, 200)
