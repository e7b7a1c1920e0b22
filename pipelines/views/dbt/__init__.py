"""A dbt package over the tables of a destination: `insightly marts --dbt FOLDER`."""
