"""A server that reads submissions as Ray's dashboard does (dashboard/modules/job/job_head.py): srv.py PORT [ADDRESS...]."""
import asyncio
import logging
import sys

from aiohttp import web

logging.disable(logging.CRITICAL)


async def submit(req):
    d = await req.json()
    assert isinstance(d, dict) and isinstance(d["entrypoint"], str)
    return web.json_response({"job_id": "raysubmit_x", "submission_id": "raysubmit_x", "ep": d["entrypoint"][-60:]})


async def version(_):
    return web.json_response({"ray_version": "2.9.0"})


async def main():
    app = web.Application(client_max_size=100 * 1024 * 1024)
    app.router.add_post("/api/jobs/", submit)
    app.router.add_get("/api/version", version)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    for address in sys.argv[2:] or ["127.0.0.1"]:
        await web.TCPSite(runner, address, int(sys.argv[1])).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
