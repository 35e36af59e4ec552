"""nginx's configuration."""

import pathlib

from process import HOST, Trouble
from place import Place, Setup

# Without buffering it reads into the one buffer meant for heads, 4 KiB unless told otherwise.
STREAMS = "proxy_buffering off; proxy_request_buffering off; proxy_buffer_size 64k; " \
    "proxy_buffers 8 64k; proxy_busy_buffers_size 128k; client_body_buffer_size 128k;"

LOG = """
  log_format all escape=json '{"time":"$time_iso8601","id":"$request_id","client":"$remote_addr",'
    '"method":"$request_method","host":"$host","path":"$uri","query":"$args","status":$status,'
    '"seconds":$request_time,"upstream_seconds":"$upstream_response_time",'
    '"received":$request_length,"sent":$body_bytes_sent,"endpoint":"$upstream_addr"}';
"""

# Limits that are looked at for every request, and never reached.
LIMITS = """
  limit_req_zone $binary_remote_addr zone=rate:10m rate=1000000r/s;
  limit_conn_zone $binary_remote_addr zone=connections:10m;
  limit_req zone=rate burst=100000 nodelay; limit_conn connections 20000;
"""

EDITS = 'proxy_set_header X-Env prod; proxy_set_header X-Debug ""; ' \
    "add_header X-Frame-Options DENY;"

FORWARD = 'proxy_http_version 1.1; proxy_set_header Connection ""; ' \
    "proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;"


# Debian keeps it in a package of its own.
STREAM_MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def config(place: Place, setup: Setup) -> str:
    if setup.tcp:
        return carrying(place)
    log = "access_log off;"
    if setup.everything:
        log = LOG + f"  access_log {place.access_log()} all buffer=64k flush=1s;" + LIMITS
    folder = place.folder
    master = "off" if setup.single_process else "on"
    speaks = (" ssl" if setup.tls else "") + (" http2" if setup.http2 else "")
    return f"""
daemon off; master_process {master}; worker_processes 1; user root; pid {folder}/nginx.pid;
error_log stderr crit; worker_rlimit_nofile 65536;
events {{ worker_connections {max(9000, 2 * setup.idle)}; }}
http {{
  {log}
  server_tokens off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000; keepalive_timeout 60s; client_max_body_size 0;
  server_names_hash_max_size 65536; server_names_hash_bucket_size 128;
  {FORWARD}
  {EDITS if setup.everything else ""}
  {STREAMS if setup.streams else ""}
  upstream origin {{ server {HOST}:{place.origin}; keepalive 2048;
    keepalive_requests 1000000000; }}
  server {{
    listen {HOST}:{place.port}{speaks} backlog=4096;
    {keys(place) if setup.tls else ""}
    location / {{ proxy_pass http://origin; }}
  }}
{hosts(place, setup)}
}}
"""


def carrying(place: Place) -> str:
    if not STREAM_MODULE.exists():
        raise Trouble("libnginx-mod-stream is not installed: run .ci/setup --peers")
    return f"""
load_module {STREAM_MODULE};
daemon off; master_process on; worker_processes 1; user root; pid {place.folder}/nginx.pid;
error_log stderr crit; worker_rlimit_nofile 65536;
events {{ worker_connections 9000; }}
stream {{
  server {{
    listen {HOST}:{place.port} backlog=4096;
    proxy_pass {HOST}:{place.origin};
  }}
}}
"""


def keys(place: Place) -> str:
    folder = place.certificate()
    return f"ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem; " \
        "ssl_protocols TLSv1.2 TLSv1.3;"


def hosts(place: Place, setup: Setup) -> str:
    locations = " ".join(f"location /bytes/1024/r{route} {{ proxy_pass http://origin; }}"
                         for route in range(setup.routes))
    return "\n".join(
        f"  server {{ listen {HOST}:{place.port}; server_name h{host}.example.test; {locations} }}"
        for host in range(setup.hosts))
