# Shared by all Elastic IPs: the lock table in which jobs queue, and a permissions boundary for the clusters' roles.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

variable "table_name" {
  type    = string
  default = "airflow-eip-leases"
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

resource "aws_dynamodb_table" "lock" {
  name                        = var.table_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "address"
  deletion_protection_enabled = true

  attribute {
    name = "address"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  # If the records are lost, fencing tokens start again.
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_iam_policy" "cluster_boundary" {
  name_prefix = "airflow-eip-cluster-boundary-"
  description = "A permissions boundary for the roles of EMR clusters that carry an Elastic IP"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AnythingButIdentities"
        Effect    = "Allow"
        NotAction = ["account:*", "iam:*", "organizations:*"]
        Resource  = "*"
      },
      {
        Sid      = "LookAtIdentities"
        Effect   = "Allow"
        Action   = ["iam:Get*", "iam:List*"]
        Resource = "*"
      },
      # EMR's service role needs these to start instances.
      {
        Sid      = "StartInstances"
        Effect   = "Allow"
        Action   = ["iam:PassRole"]
        Resource = "*"
        Condition = {
          StringEquals = {
            "iam:PassedToService" = [
              "ec2.${data.aws_partition.current.dns_suffix}",
              "application-autoscaling.${data.aws_partition.current.dns_suffix}",
            ]
          }
        }
      },
      {
        Sid      = "UseSpotInstances"
        Effect   = "Allow"
        Action   = ["iam:CreateServiceLinkedRole"]
        Resource = "arn:${local.partition}:iam::${local.account}:role/aws-service-role/spot.amazonaws.com/*"
      },
      # The following is denied to clusters, whatever else they are allowed; only Airflow does it.
      {
        Sid      = "NeverAnAddress"
        Effect   = "Deny"
        Action   = ["ec2:*"]
        Resource = "arn:${local.partition}:ec2:*:${local.account}:elastic-ip/*"
      },
      {
        Sid      = "NeverTheLock"
        Effect   = "Deny"
        Action   = ["dynamodb:*"]
        Resource = aws_dynamodb_table.lock.arn
      },
      {
        Sid       = "NeverTheMarks"
        Effect    = "Deny"
        Action    = ["elasticmapreduce:AddTags", "elasticmapreduce:RemoveTags"]
        Resource  = "*"
        Condition = { "ForAnyValue:StringLike" = { "aws:TagKeys" = ["airflow-eip:*"] } }
      },
    ]
  })
}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
}

output "lock_store" {
  description = "The option lock_store of section eip of airflow.cfg"
  value       = "dynamodb://${aws_dynamodb_table.lock.name}?region=${data.aws_region.current.name}"
}

output "table_name" {
  value = aws_dynamodb_table.lock.name
}

output "cluster_boundary_arn" {
  description = "The permissions boundary to set on the clusters' service role and instance role"
  value       = aws_iam_policy.cluster_boundary.arn
}
