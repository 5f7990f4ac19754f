-- wrk posts 28x28 PNGs in turn; FMNIST_PNGS names files of them, one a line.
local bodies = {}
for path in io.lines(os.getenv("FMNIST_PNGS")) do
  local file = assert(io.open(path, "rb"))
  bodies[#bodies + 1] = file:read("*a")
  file:close()
end
local sent = 0
function request()
  sent = sent + 1
  return wrk.format("POST", "/v1/predict", {["Content-Type"] = "image/png"},
                    bodies[sent % #bodies + 1])
end
