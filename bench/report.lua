-- What wrk is told to send, and its figures as one line of JSON.
local method, body = os.getenv("METHOD"), tonumber(os.getenv("BODY_BYTES"))
if method then wrk.method = method end
if body then wrk.body = string.rep("u", body) end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nFIGURES {"requests":%d,"microseconds":%d,"bytes":%d,"p50":%d,"p99":%d,"p999":%d,' ..
    '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50),
    latency:percentile(99), latency:percentile(99.9),
    e.connect, e.read, e.write, e.status, e.timeout))
end
