"""The kinds of operations that this command line has. Imported when an operation is driven."""

from lightragctl.backup.backup_kind import BACKUP
from lightragctl.backup.kinds import KINDS as COPYING
from lightragctl.operations.kind import OperationKind
from lightragctl.operations.rehearsal import REHEARSAL
from lightragctl.reembed.kinds import REEMBED
from lightragctl.tune.kinds import REBUILD
from lightragctl.upgrade.kinds import KINDS as UPGRADES

KINDS: tuple[OperationKind, ...] = (REHEARSAL, BACKUP, *COPYING, REBUILD, *UPGRADES, REEMBED)
