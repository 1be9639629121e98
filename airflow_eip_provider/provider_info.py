"""The provider metadata for Airflow. Every Airflow process reads it at its start, so it imports nothing slow."""

from __future__ import annotations

from typing import Any

from airflow_eip_provider import __version__

_INTEGRATION = "Elastic IP for Amazon EMR"


def _modules(kind: str, *names: str) -> dict[str, Any]:
    return {
        "integration-name": _INTEGRATION,
        "python-modules": [f"airflow_eip_provider.{kind}.{name}" for name in names],
    }


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, as Airflow's ``provider_info.schema.json`` describes it."""
    return {
        "package-name": "airflow-eip-provider",
        "name": "Elastic IP for Amazon EMR",
        "description": "Gives an Amazon EMR cluster a fixed public IP address (a VPC Elastic IP), safely.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html",
                "tags": ["aws"],
            }
        ],
        "operators": [_modules("operators", "emr", "eip", "azure", "elbv2", "failover", "livy")],
        "sensors": [_modules("sensors", "eip", "azure", "emr")],
        "hooks": [_modules("hooks", "azure", "eip", "elbv2", "emr", "livy", "lock_store", "step_logs")],
        "triggers": [_modules("triggers", "azure", "eip", "elbv2", "emr", "health", "livy", "lock", "nat", "pool")],
        "extra-links": [
            "airflow_eip_provider.links.eip.ElasticIpLink",
            "airflow_eip_provider.links.livy.DriverLogLink",
            "airflow_eip_provider.links.livy.SparkUiLink",
        ],
        "plugins": [{"name": "elastic_ips", "plugin-class": "airflow_eip_provider.ui.plugin.ElasticIpPlugin"}],
        "cli": ["airflow_eip_provider.cli.definition.get_eip_cli_commands"],
        "config": {
            "eip": {
                "description": "Elastic IP addresses for Amazon EMR clusters.",
                "options": {
                    "environment": {
                        "description": "The name of this Airflow environment, as part of the owner of an address. "
                        "Environments that share an address need different names. Required with a lock store.",
                        "type": "string",
                        "version_added": "0.1.0",
                        "example": "production",
                        "default": None,
                    },
                    "lock_store": {
                        "description": "Where owners queue for an address: dynamodb://TABLE?region=…&create=true or "
                        "s3://BUCKET/PREFIX?region=…. Unset: EC2's own refusal to re-associate is the only lock.",
                        "type": "string",
                        "version_added": "0.1.0",
                        "example": "dynamodb://airflow-eip-leases?create=true",
                        "default": None,
                    },
                    "grace": {
                        "description": "The number of seconds for which a free address is kept for the first task in "
                        "the queue. It doubles each time that the task misses its turn. It must be longer than "
                        "Airflow usually takes to resume a deferred task: workers of MWAA take minutes to scale up, "
                        "so the default is 120. ?grace= of the lock store's URI overrides it. It is stored with the "
                        "lease, and then applies to every environment that shares the address.",
                        "type": "float",
                        "version_added": "0.2.0",
                        "example": "120",
                        "default": None,
                    },
                    "page_addresses": {
                        "description": "The allocation IDs that the page Elastic IPs shows, separated by commas. "
                        "Unset: all addresses with a record in the lock store, which needs dynamodb:Scan or "
                        "s3:ListBucket; without a lock store, the first 50 addresses in the connection's region.",
                        "type": "string",
                        "version_added": "0.2.0",
                        "example": "eipalloc-0123456789abcdef0,eipalloc-0fedcba9876543210",
                        "default": None,
                    },
                    "page_aws_conn_id": {
                        "description": "The Airflow connection with which the page Elastic IPs reads the lock store "
                        "and EC2. Unset: aws_default if it exists, else boto3's default credentials.",
                        "type": "string",
                        "version_added": "0.2.0",
                        "example": "aws_read_only",
                        "default": None,
                    },
                },
            }
        },
    }
