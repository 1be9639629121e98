# A Network Load Balancer in front of the primary nodes of EMR clusters: YARN, HDFS and Livy under one name.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

variable "name" {
  type        = string
  default     = "emr"
  description = "The name of the load balancer; its target groups are called NAME-yarn, NAME-hdfs and NAME-livy"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,24}[a-z0-9]$", var.name))
    error_message = "Give up to 26 small letters, digits and dashes."
  }
}

variable "vpc_id" {
  type        = string
  description = "The VPC of the clusters"
}

variable "subnet_ids" {
  type        = list(string)
  description = "One subnet in each zone in which a cluster may run, the standby's included"
}

variable "airflow_security_group_id" {
  type        = string
  description = "The security group of Airflow's workers and triggerers, for example that of an Amazon MWAA environment"
}

variable "allocation_id" {
  type        = string
  description = "The Elastic IP; the clusters are launched with its tag"
  validation {
    condition     = can(regex("^eipalloc-([0-9a-f]{8}|[0-9a-f]{17})$", var.allocation_id))
    error_message = "Give what EC2 shows as Allocation ID (eipalloc-...)."
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
  # The health checks use HTTP: a TCP check also passes if the service never answers.
  services = {
    yarn = { port = 8088, path = "/ws/v1/cluster/info" }
    hdfs = { port = 9870, path = "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState" }
    livy = { port = 8998, path = "/batches?from=0&size=1" }
  }
  place     = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  clusters  = "arn:${data.aws_partition.current.partition}:elasticmapreduce:${local.place}:cluster/*"
  in_region = { StringEquals = { "aws:RequestedRegion" = data.aws_region.current.name } }
}

resource "aws_security_group" "load_balancer" {
  name        = "${var.name}-load-balancer"
  description = "What reaches the load balancer - Airflow, at the three services"
  vpc_id      = var.vpc_id

  dynamic "ingress" {
    for_each = local.services
    content {
      description     = ingress.key
      protocol        = "tcp"
      from_port       = ingress.value.port
      to_port         = ingress.value.port
      security_groups = [var.airflow_security_group_id]
    }
  }

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

# EMR changes the rules of its managed security groups, so the primary nodes get an additional one:
# AdditionalMasterSecurityGroups of Instances.
resource "aws_security_group" "primary" {
  name        = "${var.name}-primary"
  description = "What reaches primary nodes - the load balancer, and Airflow, which checks their health itself"
  vpc_id      = var.vpc_id

  dynamic "ingress" {
    for_each = local.services
    content {
      description     = "${ingress.key}, through the load balancer and from Airflow"
      protocol        = "tcp"
      from_port       = ingress.value.port
      to_port         = ingress.value.port
      security_groups = [aws_security_group.load_balancer.id, var.airflow_security_group_id]
    }
  }

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_lb" "services" {
  name               = var.name
  load_balancer_type = "network"
  internal           = true
  subnets            = var.subnet_ids
  security_groups    = [aws_security_group.load_balancer.id]
  # Only one node is healthy at a time, so the load balancer's addresses in the other zones must also reach it.
  enable_cross_zone_load_balancing = true
}

resource "aws_lb_target_group" "services" {
  for_each             = local.services
  name                 = "${var.name}-${each.key}"
  vpc_id               = var.vpc_id
  protocol             = "TCP"
  port                 = each.value.port
  target_type          = "ip"
  preserve_client_ip   = false
  deregistration_delay = 60
  # A client of the old node must connect again, and then reaches the new one.
  connection_termination = true

  health_check {
    protocol            = "HTTP"
    path                = each.value.path
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
    matcher             = "200"
  }
}

resource "aws_lb_listener" "services" {
  for_each          = local.services
  load_balancer_arn = aws_lb.services.arn
  protocol          = "TCP"
  port              = each.value.port

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.services[each.key].arn
  }
}

# What `airflow-eip iam-policy` prints for --health and --target-group, beyond the policy of the module "access".
resource "aws_iam_policy" "targets" {
  name_prefix = "airflow-eip-targets-"
  description = "What airflow-eip-provider calls to watch primary nodes, to fail over and to move targets"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Adopt"
        Effect   = "Allow"
        Action   = ["elasticmapreduce:AddTags"]
        Resource = local.clusters
        Condition = {
          StringEquals = { "elasticmapreduce:ResourceTag/airflow-eip:allocation-id" = [var.allocation_id] }
          "ForAllValues:StringEquals" = {
            "aws:TagKeys" = ["airflow-eip:try", "airflow-eip:adopters", "airflow-eip:successor-of", "airflow-eip:in-charge-since"]
          }
        }
      },
      {
        Sid       = "LookAtHealth"
        Effect    = "Allow"
        Action    = ["ec2:DescribeInstanceStatus"]
        Resource  = "*"
        Condition = local.in_region
      },
      {
        Sid    = "LookAtTargets"
        Effect = "Allow"
        Action = [
          "elasticloadbalancing:DescribeLoadBalancerAttributes",
          "elasticloadbalancing:DescribeLoadBalancers",
          "elasticloadbalancing:DescribeTargetGroupAttributes",
          "elasticloadbalancing:DescribeTargetGroups",
          "elasticloadbalancing:DescribeTargetHealth",
        ]
        Resource  = "*"
        Condition = local.in_region
      },
      {
        Sid    = "ChangeTargets"
        Effect = "Allow"
        Action = [
          "elasticloadbalancing:DeregisterTargets",
          "elasticloadbalancing:RegisterTargets",
        ]
        Resource = [for name in ["yarn", "hdfs", "livy"] : aws_lb_target_group.services[name].arn]
      },
    ]
  })
}

resource "aws_iam_role_policy_attachment" "airflow" {
  count      = var.airflow_role_name == "" ? 0 : 1
  role       = var.airflow_role_name
  policy_arn = aws_iam_policy.targets.arn
}

output "dns_name" {
  description = "The host for the Livy connection"
  value       = aws_lb.services.dns_name
}

output "primary_security_group_id" {
  description = "The security group for AdditionalMasterSecurityGroups of each cluster"
  value       = aws_security_group.primary.id
}

output "target_group_arns" {
  description = "The target groups by service: yarn, hdfs, livy"
  value       = { for name, group in aws_lb_target_group.services : name => group.arn }
}

output "targets_policy_arn" {
  value = aws_iam_policy.targets.arn
}
