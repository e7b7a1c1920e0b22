"""The command `dashboard`: one page on the sync's health and the CRM's figures."""
