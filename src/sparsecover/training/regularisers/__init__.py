"""Terms of the loss on pixels without a label, chosen by name with ``train.regularisers``."""

from sparsecover.training.regularisers.base import Regulariser as Regulariser
from sparsecover.training.regularisers.base import free_pixels as free_pixels
from sparsecover.training.regularisers.registry import create_regulariser as create_regulariser
from sparsecover.training.regularisers.registry import list_regularisers as list_regularisers
from sparsecover.training.regularisers.registry import register_regulariser as register_regulariser
from sparsecover.training.regularisers.suggester import Ground as Ground
from sparsecover.training.regularisers.suggester import Suggester as Suggester
