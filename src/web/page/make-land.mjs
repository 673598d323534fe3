// Makes land.bin, the map behind the live page, from Natural Earth (public domain, naturalearthdata.com):
//
//   npm install --prefix DIR world-atlas@2.0.2 topojson-client@3.1.0
//   pip download --no-deps geopandas==0.14.4 && unzip geopandas-0.14.4*.whl 'geopandas/datasets/*' -d DIR
//   node make-land.mjs DIR >land.bin
//
// Land and borders are those of the 1:50m countries; cities are those of geopandas' naturalearth_cities.
//
// land.bin is a sequence of unsigned LEB128 numbers. Degrees are counted in steps of 1/STEPS, from the west
// and the south; what crosses 180° goes on beyond 360. First STEPS, then three groups, each with its count first: rings of land, lines of borders,
// cities. A ring or line is its number of points, then for each point the difference to the point before it
// (at first to 0, 0), x and y, zigzag coded. A ring's last point is not its first. A city, the largest first,
// is x, y, the number of bytes of its name, and the name in UTF-8.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const STEPS = 100;
const TOLERANCE_DEGREES = 0.012; // what a coast may be moved by: 1.3 km, below what 1:50m can show
const directory = process.argv[2];
const require = createRequire(join(directory, "node_modules/any"));
const { merge, mesh } = require("topojson-client");

/** The points that are left of a line (Douglas and Peucker); its ends always are. */
function simplified(points) {
  const keep = new Uint8Array(points.length);
  keep[0] = keep[points.length - 1] = 1;
  const work = [[0, points.length - 1]];
  while (work.length) {
    const [first, last] = work.pop();
    const [x0, y0] = points[first];
    const [dx, dy] = [points[last][0] - x0, points[last][1] - y0];
    const length = Math.hypot(dx, dy);
    let [farthest, at] = [0, -1];
    for (let i = first + 1; i < last; i++) {
      const [x, y] = [points[i][0] - x0, points[i][1] - y0];
      const distance = length ? Math.abs(x * dy - y * dx) / length : Math.hypot(x, y);
      if (distance > farthest) [farthest, at] = [distance, i];
    }
    if (farthest > TOLERANCE_DEGREES) {
      keep[at] = 1;
      work.push([first, at], [at, last]);
    }
  }
  return points.filter((_, i) => keep[i]);
}

/** The topology with its arcs simplified, so that neighbours keep the same border. */
function simplify(topology) {
  const { scale, translate } = topology.transform;
  const arcs = topology.arcs.map((arc) => {
    let [x, y] = [0, 0];
    const points = arc.map(([dx, dy]) => [(x += dx) * scale[0] + translate[0], (y += dy) * scale[1] + translate[1]]);
    return simplified(points);
  });
  return { type: "Topology", objects: topology.objects, arcs };
}

/** A line that goes on beyond 180° rather than jumping to -180°; a ring around a pole goes there and back. */
function unwrapped(line, is_ring) {
  let turns = 0;
  const all = line.map(([x, y], i) => {
    const jump = i ? x - line[i - 1][0] : 0;
    if (Math.abs(jump) > 180) turns -= Math.sign(jump);
    return [x + 360 * turns, y];
  });
  if (is_ring && turns) {
    const pole = all[0][1] < 0 ? -90 : 90;
    all.push([all.at(-1)[0], pole], [all[0][0], pole]);
  }
  const shift = all.some(([x]) => x < -180) ? 360 : 0;
  return all.map(([x, y]) => [x + shift, y]);
}

const bytes = [];
function number(value) {
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  bytes.push(value);
}
const signed = (value) => number(value < 0 ? -2 * value - 1 : 2 * value);
const steps = ([longitude, latitude]) => [Math.round((longitude + 180) * STEPS), Math.round((latitude + 90) * STEPS)];

function group(lines, is_ring) {
  const all = lines.map((line) => unwrapped(line, is_ring).map(steps).filter(([x, y], i, all) => !i || x !== all[i - 1][0] || y !== all[i - 1][1]));
  if (is_ring) for (const ring of all) if (String(ring[0]) === String(ring.at(-1))) ring.pop();
  const drawn = all.filter((line) => line.length > (is_ring ? 2 : 1));
  number(drawn.length);
  for (const line of drawn) {
    number(line.length);
    let [px, py] = [0, 0];
    for (const [x, y] of line) {
      signed(x - px);
      signed(y - py);
      [px, py] = [x, y];
    }
  }
  return drawn.reduce((points, line) => points + line.length, 0);
}

/** Name and place of each city. The file has the smallest first. */
function cities() {
  const base = join(directory, "geopandas/datasets/naturalearth_cities/naturalearth_cities");
  const [names, points] = [readFileSync(`${base}.dbf`), readFileSync(`${base}.shp`)];
  const [count, head, row] = [names.readUInt32LE(4), names.readUInt16LE(8), names.readUInt16LE(10)];
  // The package's file is in Latin 1, which has no letter for these.
  const lost = { "Chi?in?u": "Chișinău", "?saka": "Ōsaka" };
  return Array.from({ length: count }, (_, i) => {
    const at = head + i * row;
    const name = names.toString("latin1", at + 1, at + row).trim().replace(/ +/g, " ");
    const point = 100 + i * 28 + 12; // a shapefile's head is 100 bytes, a point's record 28
    return [lost[name] ?? name, [points.readDoubleLE(point), points.readDoubleLE(point + 8)]];
  }).reverse();
}

const topology = simplify(JSON.parse(readFileSync(join(directory, "node_modules/world-atlas/countries-50m.json"))));
const { countries } = topology.objects;
number(STEPS);
const land = group(merge(topology, countries.geometries).coordinates.flat(), true);
const borders = group(mesh(topology, countries, (a, b) => a !== b).coordinates, false);
const all = cities();
number(all.length);
for (const [name, place] of all) {
  for (const part of steps(place)) number(part);
  const text = Buffer.from(name);
  number(text.length);
  bytes.push(...text);
}
process.stdout.write(Buffer.from(bytes));
process.stderr.write(`${land} points of land, ${borders} of borders, ${all.length} cities, ${bytes.length} bytes\n`);
