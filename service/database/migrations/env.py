"""What Alembic runs: the steps, in the transaction that service/database/upgrading.py has begun."""

from alembic import context

from service.database.tables import all_tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=all_tables(),
    render_as_batch=True,  # SQLite changes few things of a table that is there: it is made anew
    transactional_ddl=True,
)
context.run_migrations()
