"""Service Quotas: the vCPU quotas of an account, which moto does not support."""

from __future__ import annotations

from typing import Any

from local_emr.errors import AwsError

STANDARD_VCPUS = "L-1216C47A"  # "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"


class Quotas:
    """
    The quotas of EC2; they are not enforced.

    :ivar values: by quota code; tests may change them.
    """

    def __init__(self) -> None:
        self.values = {STANDARD_VCPUS: 256.0}

    def answer(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """
        Answer a call.

        :raises AwsError: ``NoSuchResourceException``, ``NotSimulated``.
        """
        if operation != "GetServiceQuota":
            raise AwsError("NotSimulated", f"{operation} of Service Quotas is not simulated.")
        service, code = params["ServiceCode"], params["QuotaCode"]
        if service != "ec2" or code not in self.values:
            raise AwsError("NoSuchResourceException", f"There is no quota {code} of {service}.")
        return {"Quota": {"ServiceCode": service, "QuotaCode": code, "Value": self.values[code], "Adjustable": True}}
