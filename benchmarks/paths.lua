-- Calls the paths in a file one after the other, and again from its beginning: wrk ... --script paths.lua URL -- FILE.
-- The last line of output is JSON.

local paths, number = {}, 0

function init(arguments)
  for path in io.lines(arguments[1]) do
    paths[#paths + 1] = wrk.format("GET", path)
  end
end

function request()
  number = number % #paths + 1
  return paths[number]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "failed": %d, "p50_microseconds": %d, "p99_microseconds": %d, "max_microseconds": %d}\n',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99), latency.max
  ))
end
