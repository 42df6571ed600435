module github.com/skeinmesh/skein/internal/bench/peers/raw

go 1.26.0

require github.com/skeinmesh/skein/internal/bench v0.0.0

replace github.com/skeinmesh/skein/internal/bench => ../..
