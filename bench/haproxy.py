"""HAProxy's configuration."""

from process import HOST
from place import Place, Setup

# It would not start where there are not two descriptors for each idle client.
NO_FEAR = "no strict-limits"

STREAMS = "option splice-request\n  option splice-response"

# It writes lines nowhere but to a socket or to a descriptor: its standard output is a file here.
LOG = """
  log global
  log-format '{"time":"%tr","id":"%ID","client":"%ci","method":"%HM","host":"%[capture.req.hdr(0)]",\
"path":"%HP","query":"%HQ","status":%ST,"ms":%Ta,"upstream_ms":%Tr,"received":%U,"sent":%B,\
"upstream":"%b","endpoint":"%s","ended":"%ts","retries":%rc}'
"""

# Limits that are looked at for every request, and never reached.
EVERYTHING = """
  unique-id-format %[uuid()]
  capture request header Host len 64
  stick-table type ip size 100k expire 30s store http_req_rate(1s)
  http-request track-sc0 src
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000 }
  http-request set-header X-Env prod
  http-request del-header X-Debug
  http-response set-header X-Frame-Options DENY
"""

FORWARD = "option forwardfor\n  http-reuse always"

RETRIES = "retries 2\n  option redispatch\n  retry-on conn-failure empty-response"


def config(place: Place, setup: Setup) -> str:
    everything = setup.everything
    by_map = ""
    if setup.hosts:
        rows = place.write("hosts.map", hosts(setup))
        by_map = f"use_backend %[base,map_beg({rows},origin)]"
    return f"""
global
  nbthread 1
  maxconn {max(4000, setup.idle + 1000)}
  maxpipes 1000
  {NO_FEAR if setup.idle else ""}
  {"log stdout format raw local0" if everything else ""}
defaults
  mode {"tcp" if setup.tcp else "http"}
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  {"" if setup.tcp else FORWARD}
  {STREAMS if setup.streams else ""}
  {LOG if everything else ""}
frontend web
  bind {HOST}:{place.port}{secured(place, setup)} backlog 4096
  {EVERYTHING if everything else ""}
  {by_map}
  default_backend origin
backend origin
  {RETRIES if everything else ""}
  server origin {HOST}:{place.origin} pool-max-conn 4096
"""


def secured(place: Place, setup: Setup) -> str:
    if not setup.tls:
        return ""
    alpn = "h2,http/1.1" if setup.http2 else "http/1.1"
    return f" ssl crt {place.certificate()}/both.pem ssl-min-ver TLSv1.2 alpn {alpn}"


def hosts(setup: Setup) -> str:
    return "".join(f"h{host}.example.test/bytes/1024/r{route} origin\n"
                   for host in range(setup.hosts) for route in range(setup.routes))
