# The permissions that Airflow's role needs for an Elastic IP on EMR clusters, and no others.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

variable "allocation_id" {
  type        = string
  description = "The Elastic IP"
  validation {
    condition     = can(regex("^eipalloc-([0-9a-f]{8}|[0-9a-f]{17})$", var.allocation_id))
    error_message = "Give what EC2 shows as Allocation ID (eipalloc-...)."
  }
}

variable "lock_table_name" {
  type    = string
  default = "airflow-eip-leases"
}

variable "service_role_arn" {
  type        = string
  description = "The role that clusters give to EMR (ServiceRole)"
}

variable "instance_role_arn" {
  type        = string
  description = "The role in the clusters' instance profile (JobFlowRole)"
}

variable "log_bucket" {
  type        = string
  description = "The bucket of the clusters' LogUri, from which the output of failed steps is shown"
}

variable "log_prefix" {
  type        = string
  default     = ""
  description = "The path in that bucket, with a slash at its end; empty for none"
  validation {
    condition     = can(regex("^(|[^/].*/)$", var.log_prefix))
    error_message = "Give a path without a slash at its start and with one at its end."
  }
}

variable "airflow_role_name" {
  type        = string
  default     = ""
  description = "The role to attach the policy to, for example the execution role of Amazon MWAA; empty for none"
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  region    = data.aws_region.current.name
  partition = data.aws_partition.current.partition
  suffix    = data.aws_partition.current.dns_suffix
  place     = "${local.region}:${data.aws_caller_identity.current.account_id}"
  network   = "arn:${local.partition}:ec2:${local.place}"
  clusters  = "arn:${local.partition}:elasticmapreduce:${local.place}:cluster/*"
  table     = "arn:${local.partition}:dynamodb:${local.place}:table/${var.lock_table_name}"
  logs      = "arn:${local.partition}:s3:::${var.log_bucket}"
  ours      = { "elasticmapreduce:ResourceTag/airflow-eip:allocation-id" = [var.allocation_id] }
  marked    = { "elasticmapreduce:RequestTag/airflow-eip:allocation-id" = [var.allocation_id] }
}

resource "aws_iam_policy" "airflow" {
  name_prefix = "airflow-eip-"
  description = "What airflow-eip-provider calls for an Elastic IP"
  # The output of `airflow-eip iam-policy` for these variables.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Look"
        Effect = "Allow"
        Action = [
          "ec2:DescribeAddresses",
          "ec2:DescribeAvailabilityZones",
          "ec2:DescribeInstanceTypeOfferings",
          "ec2:DescribeInstances",
          "ec2:DescribeNatGateways",
          "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeRouteTables",
          "ec2:DescribeSecurityGroups",
          "ec2:DescribeSubnets",
          "elasticmapreduce:GetBlockPublicAccessConfiguration",
          "elasticmapreduce:ListClusters",
        ]
        Resource  = "*"
        Condition = { StringEquals = { "aws:RequestedRegion" = local.region } }
      },
      {
        Sid      = "LookAtClusters"
        Effect   = "Allow"
        Action   = ["elasticmapreduce:DescribeCluster", "elasticmapreduce:ListInstances", "elasticmapreduce:ListSteps"]
        Resource = local.clusters
      },
      {
        Sid    = "Associate"
        Effect = "Allow"
        Action = ["ec2:AssociateAddress"]
        Resource = [
          "${local.network}:elastic-ip/${var.allocation_id}",
          "${local.network}:network-interface/*",
          "${local.network}:instance/*",
        ]
      },
      {
        Sid      = "Disassociate"
        Effect   = "Allow"
        Action   = ["ec2:DisassociateAddress"]
        Resource = ["${local.network}:elastic-ip/${var.allocation_id}", "${local.network}:network-interface/*"]
      },
      {
        Sid       = "Launch"
        Effect    = "Allow"
        Action    = ["elasticmapreduce:RunJobFlow"]
        Resource  = "*"
        Condition = { StringEquals = merge({ "aws:RequestedRegion" = local.region }, local.marked) }
      },
      {
        Sid       = "TagAtLaunch"
        Effect    = "Allow"
        Action    = ["elasticmapreduce:AddTags"]
        Resource  = local.clusters
        Condition = { StringEquals = local.marked, StringEqualsIfExists = local.ours }
      },
      {
        Sid       = "IdleTimeoutAtLaunch"
        Effect    = "Allow"
        Action    = ["elasticmapreduce:PutAutoTerminationPolicy"]
        Resource  = local.clusters
        Condition = { StringEqualsIfExists = local.ours }
      },
      {
        Sid       = "PassServiceRole"
        Effect    = "Allow"
        Action    = ["iam:PassRole"]
        Resource  = [var.service_role_arn]
        Condition = { StringEquals = { "iam:PassedToService" = "elasticmapreduce.${local.suffix}" } }
      },
      {
        Sid       = "PassInstanceRole"
        Effect    = "Allow"
        Action    = ["iam:PassRole"]
        Resource  = [var.instance_role_arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ec2.${local.suffix}" } }
      },
      {
        Sid       = "SubmitSteps"
        Effect    = "Allow"
        Action    = ["elasticmapreduce:AddJobFlowSteps"]
        Resource  = local.clusters
        Condition = { StringEquals = local.ours }
      },
      {
        Sid    = "EndStepsAndClusters"
        Effect = "Allow"
        Action = [
          "elasticmapreduce:CancelSteps",
          "elasticmapreduce:SetTerminationProtection",
          "elasticmapreduce:TerminateJobFlows",
        ]
        Resource  = local.clusters
        Condition = { StringEquals = local.ours }
      },
      {
        Sid      = "Adopt"
        Effect   = "Allow"
        Action   = ["elasticmapreduce:AddTags"]
        Resource = local.clusters
        Condition = {
          StringEquals                = local.ours
          "ForAllValues:StringEquals" = { "aws:TagKeys" = ["airflow-eip:try", "airflow-eip:adopters"] }
        }
      },
      {
        Sid       = "LockRecords"
        Effect    = "Allow"
        Action    = ["dynamodb:GetItem", "dynamodb:PutItem"]
        Resource  = local.table
        Condition = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = [var.allocation_id] } }
      },
      {
        Sid      = "LockTable"
        Effect   = "Allow"
        Action   = ["dynamodb:DescribeTable"]
        Resource = local.table
      },
      {
        Sid      = "StepLogs"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = "${local.logs}/${var.log_prefix}j-*/steps/*"
      },
      {
        Sid      = "StepLogBucket"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = local.logs
      },
    ]
  })
}

resource "aws_iam_role_policy_attachment" "airflow" {
  count      = var.airflow_role_name == "" ? 0 : 1
  role       = var.airflow_role_name
  policy_arn = aws_iam_policy.airflow.arn
}

output "airflow_policy_arn" {
  value = aws_iam_policy.airflow.arn
}
