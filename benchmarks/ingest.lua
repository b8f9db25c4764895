-- wrk: each request a batch of a hundred tracks about known people, each message with an id of its own.
local key, contacts, run = "", 1, ""
local sent, thread = 0, 0
local threads = 0

function setup(each)
  threads = threads + 1
  each:set("thread", threads)
end

function init(arguments)
  key, contacts, run = arguments[1], tonumber(arguments[2]), arguments[3]
end

local one = '{"type":"track","userId":"c%08d","event":"%s","messageId":"node-%s-%d-%012d","timestamp":"2026-02-01T08:00:00.000Z",'
  .. '"properties":{"order_id":"%d","total":59.8,"currency":"EUR","products":[{"sku":"tent-2","quantity":1,"price":59.8}]},'
  .. '"context":{"library":{"name":"@segment/analytics-node","version":"3.1.0"}},"integrations":{}}'
local names = { "Product Viewed", "Product Added", "Checkout Started", "Order Completed" }

function request()
  local batch = {}
  for place = 1, 100 do
    sent = sent + 1
    local who = (sent * 7919 + thread * 104729) % contacts
    batch[place] = string.format(one, who, names[sent % 4 + 1], run, thread, sent, sent)
  end
  local body = '{"batch":[' .. table.concat(batch, ",") .. '],"sentAt":"2026-02-01T08:00:01.000Z","writeKey":"' .. key .. '"}'
  return wrk.format("POST", "/v1/batch", { ["Content-Type"] = "application/json" }, body)
end

function done(summary, latency)
  local bad = summary.errors
  io.write(string.format('\n{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50":%.3f,"p99":%.3f}\n',
    summary.requests, summary.duration / 1e6, bad.status, bad.connect + bad.read + bad.write + bad.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
