"""The dashboard and the job page, seen through a real browser."""

from .compose import ROOT, Failed, run

BROWSER = ROOT / "platform-tests/browser"


def both(context):
    run("npm", "ci", "--prefix", BROWSER, "--no-fund", "--no-audit")
    look(context, "dashboard.mjs", "http://127.0.0.1:9099", "viz_master", "superstrongpassword", "dashboard.png",
         service="viz-dashboard")
    look(context, "job_page.mjs", "http://127.0.0.1:8084", "job-page.png", service="stream-processor")


def look(context, script, *args, service):
    *args, picture = args
    outcome = run("node", BROWSER / script, *args, context.artefacts / picture, check=False, seconds=300)
    print(outcome.stdout.strip(), flush=True)
    if outcome.returncode:
        raise Failed(f"{script}: {outcome.stderr.strip()}", service)
