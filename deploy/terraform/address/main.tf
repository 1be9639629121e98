# Elastic IPs for EMR clusters, to register with a firewall. They cannot be destroyed by mistake.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.72" } # the first in the registry with ipam_pool_id
  }
}

variable "name" {
  type    = string
  default = "airflow-eip"
}

variable "address_count" {
  description = "The number of addresses; EC2's default quota is five for each region"
  type        = number
  default     = 1
  validation {
    condition     = var.address_count >= 1 && floor(var.address_count) == var.address_count
    error_message = "Give a whole number of addresses, at least 1."
  }
}

variable "purpose" {
  description = "The tag \"purpose\" of each address, by which operators find them; null for none"
  type        = string
  default     = null
}

variable "public_ipv4_pool" {
  description = "A pool of your own addresses (BYOIP) to allocate from; null for Amazon's"
  type        = string
  default     = null
}

variable "ipam_pool_id" {
  description = "An IPAM pool to allocate from instead; null for none"
  type        = string
  default     = null
}

resource "aws_eip" "address" {
  count            = var.address_count
  domain           = "vpc"
  public_ipv4_pool = var.public_ipv4_pool
  ipam_pool_id     = var.ipam_pool_id
  tags = merge(
    { Name = count.index == 0 ? var.name : "${var.name}-${count.index + 1}" },
    var.purpose == null ? {} : { purpose = var.purpose },
  )

  # A released address cannot be recovered reliably.
  lifecycle {
    prevent_destroy = true
    # Airflow decides where it is.
    ignore_changes = [instance, network_interface, associate_with_private_ip]
    precondition {
      condition     = var.public_ipv4_pool == null || var.ipam_pool_id == null
      error_message = "Give public_ipv4_pool or ipam_pool_id, not both."
    }
  }
}

# The single address of earlier versions becomes the first of several.
moved {
  from = aws_eip.address
  to   = aws_eip.address[0]
}

output "allocation_id" {
  description = "The parameter allocation_id of the operators, for one address"
  value       = aws_eip.address[0].allocation_id
}

output "public_ip" {
  description = "The address to register with the firewall"
  value       = aws_eip.address[0].public_ip
}

output "allocation_ids" {
  description = "The IDs of all addresses; allocation_id accepts this list"
  value       = aws_eip.address[*].allocation_id
}

output "public_ips" {
  description = "The addresses to register with the firewall"
  value       = aws_eip.address[*].public_ip
}
