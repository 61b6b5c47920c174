"""Jobs and uploads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None

IS_ON_THE_GPU = "gpu AND state IN ('running', 'cancelling')"


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("gpu", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.BigInteger()),
        sa.Column("finished", sa.BigInteger()),
        sa.Column("error", sa.Text()),
        sa.Column("progress", sa.JSON()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(200)),
        sa.Column("lease", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_state", "jobs", ["state", "created"])
    op.create_index("ix_jobs_created", "jobs", ["created", "id"])
    op.create_index(
        "uq_jobs_gpu",
        "jobs",
        ["gpu"],
        unique=True,
        sqlite_where=sa.text(IS_ON_THE_GPU),
        postgresql_where=sa.text(IS_ON_THE_GPU),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
    )
    op.create_table(
        "job_uploads",
        sa.Column("job", sa.String(32), nullable=False),
        sa.Column("upload", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name="fk_job_uploads_job", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["upload"], ["uploads.id"], name="fk_job_uploads_upload"),
        sa.PrimaryKeyConstraint("job", "upload", name="pk_job_uploads"),
    )
    op.create_index("ix_job_uploads_upload", "job_uploads", ["upload"])
