-- Posts a file over and over: wrk ... --script post.lua URL -- FILE ACTION. The last line of output is JSON.

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
  wrk.headers["Content-Type"] = "text/xml; charset=utf-8"
  wrk.headers["SOAPAction"] = '"' .. arguments[2] .. '"'
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "failed": %d, "p99_microseconds": %d}\n',
    summary.requests, summary.duration, failed, latency:percentile(99)
  ))
end
