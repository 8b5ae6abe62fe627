"""Cohorts: tables of cases, from the layouts that data sets come in."""
