# An Elastic IP for EMR clusters, to be registered with a firewall. It cannot be destroyed by mistake.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

variable "name" {
  type    = string
  default = "airflow-eip"
}

resource "aws_eip" "address" {
  domain = "vpc"
  tags   = { Name = var.name }

  # Nobody gives the same address back.
  lifecycle {
    prevent_destroy = true
    # Where it is at the moment is Airflow's business.
    ignore_changes = [instance, network_interface, associate_with_private_ip]
  }
}

output "allocation_id" {
  description = "The parameter allocation_id of the operators"
  value       = aws_eip.address.allocation_id
}

output "public_ip" {
  description = "The address to register with the firewall"
  value       = aws_eip.address.public_ip
}
