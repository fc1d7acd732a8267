-- Calls a page with addresses that count up or are drawn at random: wrk ... --script pages.lua URL -- PATH FIRST LAST MODE.
-- PATH has one %d for the number. The last line of output is JSON.

local path, first, last, mode, number

function init(arguments)
  path, first, last, mode = arguments[1], tonumber(arguments[2]), tonumber(arguments[3]), arguments[4]
  number = first - 1
  math.randomseed(first)
end

function request()
  if mode == "random" then
    number = math.random(first, last)
  else
    number = number + 1
  end
  return wrk.format("GET", string.format(path, number))
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "failed": %d, "p50_microseconds": %d, "p99_microseconds": %d, "max_microseconds": %d}\n',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99), latency.max
  ))
end
