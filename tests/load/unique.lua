-- Payments that all succeed: each id and key is used once, users are uniform.
-- Arguments: a name for the run, the number of users, milliseconds between two payments of a connection.

local threads = {}
local next_thread = 0

function setup(thread)
  thread:set("number", next_thread)
  next_thread = next_thread + 1
  table.insert(threads, thread)
end

function init(args)
  run, users, pause, count, refused = args[1], tonumber(args[2]), tonumber(args[3] or "0"), 0, 0
  -- What is given by -H, a key for instance, goes with each request.
  headers = { ["Content-Type"] = "application/json", ["Authorization"] = wrk.headers["Authorization"] }
  math.randomseed(number * 7919 + os.time())
end

function request()
  count = count + 1
  local id = run .. "_" .. number .. "_" .. count
  local body = string.format(
    '{"payment_id":"%s","user_id":"USER_%d","amount":%.2f,"currency":"USD","payment_method":"credit_card","idempotency_key":"%s"}',
    id, math.random(0, users - 1), math.random(1, 1000) / 100, id)
  return wrk.format("POST", "/api/v1/payment", headers, body)
end

function delay()
  -- Spread out, so that the connections do not ask in step.
  return pause > 0 and math.random(0, 2 * pause) or 0
end

function response(status)
  if status ~= 201 then refused = refused + 1 end
end

function done(summary, latency)
  local total = 0
  for _, thread in ipairs(threads) do total = total + thread:get("refused") end
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    'result {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,"refused":%d,"socket_errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    total, errors))
end
