"""Machines in an Azure subscription: one resource group of one region is a host."""
