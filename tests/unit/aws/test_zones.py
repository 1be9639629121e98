"""Reads of Availability Zones: their states, and the instance types that they offer."""

from __future__ import annotations

from airflow_eip_provider.aws.zones import read_offered_types, read_zone_states


def test_the_states_of_zones_are_read_in_one_call_and_nothing_is_asked_for_none(stubbed):
    zones = [{"ZoneName": "eu-west-1a", "State": "available"}, {"ZoneName": "eu-west-1b", "State": "impaired"}]
    asked = {"Filters": [{"Name": "zone-name", "Values": ["eu-west-1a", "eu-west-1b"]}]}
    ec2 = stubbed("ec2", ("describe_availability_zones", {"AvailabilityZones": zones}, asked))
    assert read_zone_states(ec2, {"eu-west-1b", "eu-west-1a"}) == {"eu-west-1a": "available", "eu-west-1b": "impaired"}
    assert read_zone_states(ec2, ()) == {}


def test_offered_types_are_read_from_every_page_and_nothing_is_asked_for_none(stubbed):
    def page(zone: str, **more: str) -> dict:
        return {"InstanceTypeOfferings": [{"InstanceType": "m5.xlarge", "Location": zone}], **more}

    asked = {
        "LocationType": "availability-zone",
        "Filters": [{"Name": "instance-type", "Values": ["m5.xlarge"]}, {"Name": "location", "Values": ["a", "b"]}],
    }
    ec2 = stubbed(
        "ec2",
        ("describe_instance_type_offerings", page("a", NextToken="more"), asked),
        ("describe_instance_type_offerings", page("b"), {**asked, "NextToken": "more"}),
    )
    found = read_offered_types(ec2, {"m5.xlarge"}, zones={"b", "a"})
    assert found == {("a", "m5.xlarge"), ("b", "m5.xlarge")}
    assert read_offered_types(ec2, set(), zones={"a"}) == read_offered_types(ec2, {"x"}, zones=()) == frozenset()
