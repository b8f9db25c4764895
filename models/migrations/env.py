"""Run migrations on the engine that `evergreet.database` hands over."""

from alembic import context
from sqlalchemy import text

from models import Table

engine = context.config.attributes["engine"]

with engine.connect().execution_options(evergreet_write=True) as connection:
    if connection.dialect.name == "postgresql":
        connection.detach()  # the lock is the session's: it ends with the block, not with the pool
        connection.execute(text("SELECT pg_advisory_lock(hashtextextended('evergreet:migrate', 0))"))
        connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        transactional_ddl=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()
