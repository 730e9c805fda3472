"""The demo scene's ground, painted from the soil up."""

import numpy as np
from scipy import ndimage

from sparsecover.datasets.demo import houses, terrain, trees
from sparsecover.datasets.demo.canvas import OPEN_LAND, PIXEL_M, Canvas, Random


def paint_landscape(rng: Random, size_px: int) -> Canvas:
    """Fields, water, roads, a village with gardens, farms, woods, hedges and single trees."""
    canvas = Canvas.blank(size_px)
    parcels = terrain.cut_parcels(rng, canvas)
    terrain.sow(rng, canvas, parcels)
    shore_m = terrain.flood(rng, canvas)
    roads = main, lane = terrain.pave(rng, canvas, parcels, shore_m)
    to_road_m = np.minimum(main.distance_m, lane.distance_m)
    down, right = canvas.positions_m()
    village = (np.hypot(down - lane.points[0, 0], right - lane.points[0, 1]) < 210) & (to_road_m < 48) & (shore_m > 4.5)
    terrain.lay_gardens(rng, canvas, roads, village)
    houses.build_village(rng, canvas, roads, village & (shore_m > 12))
    houses.build_farms(rng, canvas, 5)
    clear_m = ndimage.distance_transform_edt(canvas.cover == OPEN_LAND) * PIXEL_M
    trees.plant_woods(rng, canvas, 0.30, (clear_m < 3.5) | village | (shore_m < 6))
    trees.plant_singly(rng, canvas, (shore_m > 1) & (shore_m < 6) & (to_road_m > 8), 6.5, 0.3)
    trees.plant_singly(rng, canvas, village & (clear_m > 2.5), 8.0, 0.25)
    hedged = rng.random(parcels.count) < 0.3
    hedges = (parcels.edge_m < 1.5) & hedged[parcels.index] & (clear_m > 3) & ~village
    trees.plant_singly(rng, canvas, hedges, 5.5, 0.6)
    houses.park_cars(rng, canvas, roads, 14)
    return canvas
